"""HTTP/2 in front: a request is what it says, and what is none is refused."""

import contextlib
import shutil
import socket
import subprocess

import pytest

from language import eventually, ok, origin, proxy, raw, request, scripted
from language.exchange import Gone, expect_streams_in_flight
from language.http2 import PROTOCOL_ERROR, http2_client

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_requests_of_every_shape() -> None:
    one = origin()
    client = http2_client(proxy().pool(one).start())
    assert client.get("/echo?a=b").json()["target"] == "/echo?a=b"
    assert client.post("/echo", b"x" * 300_000).json()["body_bytes"] == 300_000
    assert client.post("/echo", [b"ab", b"c"]).json()["body"] == "abc"
    assert len(client.get("/bytes/1000000").body) == 1_000_000
    head = client.request("HEAD", "/bytes/10")
    assert (head.status, head.body, head.get("content-length")) == (200, b"", "10")
    assert one.requests == 5


def test_curl_speaks_it_by_prior_knowledge() -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is not installed"
    running = proxy().pool(origin()).start()
    flags = ["--http2-prior-knowledge", "-sS", "--fail", "-w", "%{http_version}"]
    url = f"http://127.0.0.1:{running.port}/echo"
    done = subprocess.run(
        [curl, *flags, "-d", "hello", url], capture_output=True, text=True, timeout=60, check=True
    )
    assert '"body":"hello"' in done.stdout
    assert done.stdout.endswith("2")


def test_nghttp2_gets_an_answer_on_every_stream() -> None:
    h2load = shutil.which("h2load")
    assert h2load is not None, "h2load is not installed: scripts/test-tools does that"
    one = origin()
    running = proxy().pool(one).start()
    command = [h2load, "-n", "2000", "-c", "8", "-m", "16", f"http://127.0.0.1:{running.port}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "2000 succeeded, 0 failed, 0 errored" in done.stdout
    assert "status codes: 2000 2xx" in done.stdout
    assert one.requests == 2000


def test_many_streams_of_one_connection_are_balanced_one_by_one() -> None:
    servers = [origin(), origin(), origin()]
    running = proxy().pool(*servers, policy="round_robin").start()
    client = http2_client(running)
    streams = [client.open() for _ in range(30)]
    origins = [stream.expect_response(200).origin for stream in streams]
    assert {name: origins.count(name) for name in origins} == {one.name: 10 for one in servers}
    assert running.listener()["requests"] == 30
    assert running.listener()["connections"] == 1


def test_streams_count_as_requests_in_flight() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    expect_streams_in_flight(running, server, http2_client(running))


def test_a_preface_that_comes_in_pieces() -> None:
    running = proxy().pool(origin()).start()
    client = raw(running)
    for byte in PREFACE:
        client.send(bytes([byte]))
    # An empty SETTINGS, and that of the proxy.
    client.send(bytes(3) + b"\x04\x00" + bytes(4))
    assert client.read_exactly(9)[3] == 4


def test_what_only_begins_like_a_preface_is_http1() -> None:
    running = proxy().pool(origin()).start()
    for start in (b"P", b"PRI"):
        client = raw(running).send(start)
        client.send(b"X / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.expect_response(200)
    raw(running).send(b"PRI * HTTP/1.1\r\n\r\n").expect_response(400)


def test_a_second_request_is_never_a_preface() -> None:
    running = proxy().pool(origin()).start()
    client = raw(running).get()
    client.expect_response(200)
    client.send(PREFACE).expect_response(505)


def test_crumbs_of_a_cookie_are_joined() -> None:
    running = proxy().pool(origin()).start()
    stream = http2_client(running).open("GET", "/echo", [("cookie", "a=1"), ("cookie", "b=2")])
    assert stream.expect_response(200).seen("cookie") == ["a=1; b=2"]


def test_names_are_passed_in_lower_case_and_te_only_for_trailers() -> None:
    running = proxy().pool(origin()).start()
    reply = (
        http2_client(running).open("GET", "/echo", [("te", "trailers"), ("x-a", "B")]).expect_response(200)
    )
    assert (reply.seen("te"), reply.seen("connection")) == (["trailers"], ["te"])
    assert ["x-a", "B"] in reply.json()["headers"]


def test_trailers_pass_both_ways_but_for_those_that_steer() -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open("POST", "/", [("te", "trailers")], end=False)
    stream.send(b"body").trailers([("x-sum", "1"), ("content-length", "9"), ("host", "b")])
    connection = server.accept()
    asked = connection.read_request()
    assert (asked.body, asked.trailers) == (b"body", [("x-sum", "1")])
    connection.send(b"HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.send(b"3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n")
    got = stream.expect_end()
    assert (bytes(got.body), got.trailers) == (b"abc", [("x-sum", "2")])
    assert got.head is not None
    assert "transfer-encoding" not in dict(got.head)


def test_interim_responses_pass() -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open()
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n")
    assert stream.expect_interim(103)[1:] == [("link", "</a>")]
    connection.send(ok())
    stream.expect_response(200)


def test_content_waits_for_100_continue() -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open("POST", "/", [("expect", "100-continue"), ("content-length", "2")], end=False)
    connection = server.accept()
    head = connection.expect_request_head()
    assert head.get("expect") == "100-continue"
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    stream.expect_interim(100)
    stream.send(b"ok", end=True)
    assert connection.read_request_body(head).body == b"ok"
    connection.send(ok())
    stream.expect_response(200)


REFUSED: dict[str, tuple[list[tuple[str, str]], int]] = {
    "Host and :authority differ": ([("host", "b.example")], 400),
    "two hosts": ([("host", "a.example"), ("host", "a.example")], 400),
    "white space before a value": ([("x", " a")], 400),
    "white space behind a value": ([("x", "a\t")], 400),
    "an expectation nobody knows": ([("expect", "magic")], 417),
    "a quote in a name": ([('x"y', "a")], 400),
    "too many fields": ([(f"x-{number}", "a") for number in range(101)], 431),
}

RESET: dict[str, list[tuple[str, str]]] = {
    "connection": [("connection", "close")],
    "keep-alive": [("keep-alive", "timeout=5")],
    "proxy-connection": [("proxy-connection", "x")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "upgrade": [("upgrade", "websocket")],
    "te": [("te", "gzip")],
    "a length that is no number": [("content-length", "1x")],
    "two lengths": [("content-length", "1"), ("content-length", "2")],
    "a length that is not kept": [("content-length", "5")],
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_word(what: str) -> None:
    server = scripted()
    running = proxy().pool(server).start()
    fields, status = REFUSED[what]
    client = http2_client(running)
    reply = client.open("GET", "/", fields).expect_response(status)
    assert reply.origin is None
    eventually(lambda: running.listener()["bad_requests"] == 1)
    assert not server.is_called()


@pytest.mark.parametrize("what", RESET)
def test_a_stream_is_reset_for(what: str) -> None:
    server = origin()
    client = http2_client(proxy().pool(server).start())
    client.open("GET", "/", RESET[what]).expect_reset(PROTOCOL_ERROR)
    assert client.get().status == 200
    assert server.requests == 1


PSEUDO: dict[str, list[tuple[str, str]]] = {
    "no method": [(":scheme", "http"), (":authority", "a"), (":path", "/")],
    "no scheme": [(":method", "GET"), (":authority", "a"), (":path", "/")],
    "no path": [(":method", "GET"), (":scheme", "http"), (":authority", "a")],
    "an empty path": [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")],
    "a path twice": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        (":path", "/"),
    ],
    "one that nobody knows": [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":x", "y")],
    "one of responses": [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":status", "200")],
    "one behind a field": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("x", "y"),
        (":authority", "a"),
    ],
    "upper case": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("X-A", "y"),
    ],
    "a line feed in a value": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a\n"),
    ],
    "a smuggled line": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/ HTTP/1.1\r\nX: y"),
        (":authority", "a"),
    ],
    "a smuggled field": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("x", "y\r\ntransfer-encoding: chunked"),
    ],
    "a smuggled name": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("x: y\r\nz", "1"),
    ],
    "a method that is no token": [
        (":method", "GET / HTTP/1.1"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ],
}


@pytest.mark.parametrize("what", PSEUDO)
def test_no_request_comes_of(what: str) -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open_with(PSEUDO[what])
    with contextlib.suppress(Gone):
        client.until(lambda: stream.is_over or client.goaway is not None, "a reset or a GOAWAY")
    assert stream.got.head is None
    assert not server.is_called()


def test_connect_is_refused() -> None:
    client = http2_client(proxy().pool(origin()).start())
    client.open_with([(":method", "CONNECT"), (":authority", "a:80")], end=False).expect_response(501)


def test_a_body_shorter_than_its_length_never_passes_for_whole() -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open("POST", "/", [("content-length", "5")], end=False)
    stream.send(b"abc")
    connection = server.accept()
    connection.expect_request_head()
    connection.expect_bytes(b"abc")
    stream.end()
    stream.expect_reset(PROTOCOL_ERROR)
    connection.expect_closed()


def test_limits_hold_for_heads() -> None:
    limits = {"target_bytes_max": 100, "header_bytes_max": 2000}
    client = http2_client(proxy().listener(limits=limits).pool(origin()).start())
    assert client.get("/" + "a" * 100).status == 414
    assert client.get("/", headers={"x": "a" * 2500}).status == 431
    assert client.get("/", headers={"x": "a" * 1000}).status == 200


def test_paths_are_normalised_and_routed() -> None:
    plan = (
        proxy()
        .pool(origin())
        .route(path="/no/", respond=404)
        .route(path="/see/", redirect="https://b.example/")
    )
    client = http2_client(plan.start())
    assert client.get("/a/../no/x").status == 404
    reply = client.get("/see/x?y")
    assert (reply.status, reply.get("location")) == (308, "https://b.example/see/x?y")


def test_an_answer_before_the_end_of_a_request_ends_the_stream_without_an_error() -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open("POST", end=False)
    connection = server.accept()
    connection.expect_request_head()
    connection.send(ok(b"enough"))
    got = stream.connection.received[stream.number]
    client.until(lambda: got.reset is not None, "the reset behind the answer")
    assert (bytes(got.body), got.reset) == (b"enough", 0)
    # The others go on.
    other = client.open()
    next_one = server.accept()
    next_one.expect_request()
    next_one.send(ok())
    other.expect_response(200)


def test_an_endpoint_that_breaks_off_is_seen_to() -> None:
    server = scripted()
    client = http2_client(proxy().pool(server).start())
    stream = client.open()
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    stream.expect_bytes(3)
    connection.close()
    stream.expect_reset(2)


def test_a_client_that_resets_lets_the_endpoint_go() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    client = http2_client(running)
    stream = client.open()
    connection = server.accept()
    connection.expect_request()
    stream.reset()
    connection.expect_closed()
    eventually(lambda: running.endpoint(server)["in_flight"] == 0)
    assert running.endpoint(server)["failures"] == 0


def test_both_versions_are_served_at_once() -> None:
    running = proxy().pool(origin()).start()
    client = http2_client(running)
    assert client.get().status == 200
    assert request(running).status == 200
    assert client.get().status == 200


def test_a_unix_socket_serves_it_too(tmp_path: object) -> None:
    path = f"{tmp_path}/web.sock"
    proxy().listener(bind=[f"unix:{path}"]).pool(origin()).start()
    curl = shutil.which("curl")
    assert curl is not None, "curl is not installed"
    command = [curl, "--http2-prior-knowledge", "-sS", "--unix-socket", path, "http://a.example/echo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert '"x-forwarded-for","unknown"' in done.stdout
    assert socket.AF_UNIX
