"""What is invalid or ambiguous is answered as such, its connection is closed, and no endpoint ever saw it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from language import Running, Scripted, ok, proxy, raw, scope, scripted


@dataclass
class Stage:
    server: Scripted
    running: Running


@pytest.fixture(scope="module")
def stage(native_threads_have_run: None) -> Iterator[Stage]:
    with scope():
        server = scripted()
        limits = {"header_bytes_max": 8192, "header_count_max": 20, "target_bytes_max": 1024}
        yield Stage(
            server, proxy().listener(limits=limits).pool(server, connections={"idle_timeout_ms": 1}).start()
        )


def get(*fields: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: a", *fields]).encode("latin-1") + b"\r\n\r\n"


def post(*fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: a", *fields]).encode("latin-1") + b"\r\n\r\n" + body


def target(text: str) -> bytes:
    return f"GET {text} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1")


def host(text: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {text}\r\n\r\n".encode("latin-1")


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"

HEADS: dict[str, tuple[int, bytes]] = {
    # framing
    "both framings": (400, post("Content-Length: 3", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)),
    "both framings, the other way round": (
        400,
        post(CHUNKED, "Content-Length: 40", body=b"0\r\n\r\n" + HIDDEN),
    ),
    "both framings, length 0": (400, post("Content-Length: 0", CHUNKED, body=b"0\r\n\r\n")),
    "two lengths": (400, post("Content-Length: 3", "Content-Length: 30", body=b"abc" + HIDDEN)),
    "one length twice": (400, post("Content-Length: 3", "Content-Length: 3", body=b"abc")),
    "two lengths in one": (400, post("Content-Length: 3, 3", body=b"abc")),
    "a length with a sign": (400, post("Content-Length: +3", body=b"abc")),
    "a negative length": (400, post("Content-Length: -3", body=b"abc")),
    "a length in hex": (400, post("Content-Length: 0x3", body=b"abc")),
    "a length with an underscore": (400, post("Content-Length: 1_0", body=b"abc")),
    "a length with a space": (400, post("Content-Length: 1 0", body=b"abc")),
    "an empty length": (400, post("Content-Length:", body=b"abc")),
    "a length beyond 64 bits": (400, post("Content-Length: 18446744073709551616", body=b"abc")),
    "a length with a comma": (400, post("Content-Length: 3,", body=b"abc")),
    "a length that is a float": (400, post("Content-Length: 3.0", body=b"abc")),
    "chunked is not final": (400, post("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n")),
    "chunked twice": (400, post("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")),
    "chunked in two fields": (400, post(CHUNKED, CHUNKED, body=b"0\r\n\r\n")),
    "chunked and identity": (400, post(CHUNKED, "Transfer-Encoding: identity", body=b"0\r\n\r\n")),
    "a coding that is not chunked": (400, post("Transfer-Encoding: gzip", body=b"0\r\n\r\n")),
    "identity": (400, post("Transfer-Encoding: identity", body=b"0\r\n\r\n")),
    "almost chunked": (400, post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "chunked with a vertical tab": (400, post("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    "chunked in quotes": (400, post('Transfer-Encoding: "chunked"', body=b"0\r\n\r\n")),
    "chunked with a parameter": (400, post("Transfer-Encoding: chunked;a=b", body=b"0\r\n\r\n")),
    "an empty coding": (400, post("Transfer-Encoding:", body=b"0\r\n\r\n")),
    "a coding before chunked": (501, post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    "chunked in HTTP/1.0": (
        400,
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "TRACE with a body": (400, b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
    # lines
    "a space before the colon": (400, post("Content-Length : 3", body=b"abc")),
    "a tab before the colon": (400, post("Transfer-Encoding\t: chunked", body=b"0\r\n\r\n")),
    "a space before the first field": (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    "a folded line": (400, get("X: a", " b")),
    "a folded line with a tab": (400, get("X: a", "\tb")),
    "a folded framing": (400, post("Transfer-Encoding:", " chunked", body=b"0\r\n\r\n")),
    "a bare LF in the head": (400, b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    "a bare LF after the request line": (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    "bare LFs only": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "a bare LF at the end of the head": (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n" + HIDDEN),
    "a bare CR in a value": (400, get("X: a\rb")),
    "a bare CR that hides a field": (400, post("X: y\rTransfer-Encoding: chunked", "Content-Length: 0")),
    "a CR before CR LF": (400, get("X: a\r")),
    "NUL in a value": (400, get("X: a\0b")),
    "NUL in a name": (400, get("X\0: b")),
    "a control byte in a value": (400, get("X: a\x01b")),
    "DEL in a value": (400, get("X: a\x7fb")),
    "a name that is no token": (400, get("X(y): b")),
    "a name beyond ASCII": (400, get("X\xe9: b")),
    "an empty name": (400, get(": b")),
    "no colon": (400, get("Xb")),
    # the request line
    "no version": (400, b"GET /\r\nHost: a\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a space at the end": (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    "a space at the start": (400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a tab for a space": (400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a method that is no token": (400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a version in small letters": (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "a version with more digits": (400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    "HTTP/1.2": (505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/0.9": (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    "another protocol": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "CONNECT": (501, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    # host
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "no host but an absolute target": (400, b"GET http://a/ HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "one host twice": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "an empty host": (400, host("")),
    "a host with a space": (400, host("a b")),
    "a host with a path": (400, host("a/b")),
    "a host with a user": (400, host("u@a")),
    "a list of hosts": (400, host("a,b")),
    "a host with a wrong port": (400, host("a:http")),
    "a host with an open bracket": (400, host("[::1")),
    # targets
    "a target without a slash": (400, target("a")),
    "an asterisk": (400, target("*")),
    "a fragment": (400, target("/a#b")),
    "a backslash": (400, target("/a\\b")),
    "a byte beyond ASCII": (400, target("/\xe9")),
    "NUL in the target": (400, target("/a\0")),
    "a wrong escape": (400, target("/a%zz")),
    "half an escape": (400, target("/a%2")),
    "a user in an absolute target": (400, target("http://u:p@a/")),
    "another scheme": (400, target("ftp://a/")),
    # limits
    "a long target": (414, target("/" + "a" * 1024)),
    "a long head": (431, get("X: " + "a" * 8192)),
    "many fields": (431, get(*[f"X-{number}: y" for number in range(20)])),
    "a long name": (431, get("X" * 9000 + ": y")),
}

BODIES: dict[str, bytes] = {
    "a size that is no number": b"x\r\nabc\r\n0\r\n\r\n",
    "a size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "a size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a size with a space before it": b" 3\r\nabc\r\n0\r\n\r\n",
    "an empty size": b"\r\nabc\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "a bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "a bare LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "a bare CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "an extension that is none": b"3 a\r\nabc\r\n0\r\n\r\n",
    "a long extension": b"3;" + b"a" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
    "more data than the size says": b"3\r\nabcd\r\n0\r\n\r\n",
    "less data than the size says": b"4\r\nabc\r\n0\r\n\r\n",
    "a bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "a bare LF after the last chunk": b"3\r\nabc\r\n0\n\r\n",
    "a forbidden trailer": b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a trailer that reframes": b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a trailer that names a host": b"3\r\nabc\r\n0\r\nHost: b\r\n\r\n",
    "a trailer that forges the client": b"3\r\nabc\r\n0\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
    "a trailer with a space before the colon": b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "long trailers": b"3\r\nabc\r\n0\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
}


def expect_untouched(stage: Stage) -> None:
    """What the endpoint sees next is an honest request, and nothing before it."""
    asking = raw(stage.running).get("/honest")
    connection = stage.server.accept()
    assert connection.expect_request().target == "/honest"
    connection.send(ok(b"ok", "Connection: close")).close()
    asking.expect_response(200)


@pytest.mark.parametrize("what", HEADS)
def test_a_head_with(what: str, stage: Stage) -> None:
    status, text = HEADS[what]
    asking = raw(stage.running).send(text)
    answer = asking.expect_response(status)
    assert answer.asks_to_close
    asking.expect_closed()
    expect_untouched(stage)


@pytest.mark.parametrize("what", HEADS)
def test_a_head_in_pieces_with(what: str, stage: Stage) -> None:
    """However it is cut, it is read the same way. What fails early may be answered before the last piece."""
    status, text = HEADS[what]
    asking = raw(stage.running)
    middle = len(text) // 2
    try:
        for piece in (text[:middle], text[middle:-1], text[-1:]):
            asking.send(piece)
    except ConnectionError:
        pass
    asking.expect_response(status)
    asking.expect_closed()
    expect_untouched(stage)


@pytest.mark.parametrize("what", BODIES)
def test_a_chunked_body_with(what: str, stage: Stage) -> None:
    """The endpoint may have seen the head, but it never sees a whole body, nor anything behind it."""
    asking = raw(stage.running).send(post(CHUNKED, body=BODIES[what] + HIDDEN))
    asking.expect_response(400)
    asking.expect_closed()
    if stage.server.is_called():
        connection = stage.server.accept()
        seen = connection.socket.makefile("rb").read()
        assert not seen.endswith(b"0\r\n\r\n"), seen
        assert b"hidden" not in seen
    expect_untouched(stage)


def test_a_second_request_is_read_as_strictly_as_the_first(stage: Stage) -> None:
    asking = raw(stage.running).send(get() + post("Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"))
    connection = stage.server.accept()
    connection.expect_request()
    connection.send(ok(b"ok", "Connection: close")).close()
    asking.expect_response(200)
    asking.expect_response(400)
    asking.expect_closed()
    expect_untouched(stage)


def test_bad_requests_are_counted(stage: Stage) -> None:
    before = stage.running.listener()["bad_requests"]
    raw(stage.running).send(b"GET /\r\n\r\n").expect_response(400)
    assert stage.running.listener()["bad_requests"] == before + 1
