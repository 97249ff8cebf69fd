"""The language itself: its eyes are strict, so that what passes them is right."""

import socket
from collections.abc import Callable

import pytest

from language import (
    Incomplete,
    client,
    keep,
    load,
    ok,
    origin,
    proxy,
    raw,
    refused_address,
    request,
    scripted,
)
from language.wire import Wire


@pytest.fixture
def saying() -> Callable[[bytes], Wire]:
    """A wire whose other end says these bytes and hangs up."""

    def say(data: bytes) -> Wire:
        near, far = socket.socketpair()
        keep(far).sendall(data)
        far.shutdown(socket.SHUT_WR)
        return keep(Wire(near))

    return say


class TestAWire:
    def test_reads_one_message_after_the_other(self, saying: Callable[[bytes], Wire]) -> None:
        wire = saying(ok(b"one") + b"HTTP/1.1 204 N\r\n\r\n" + ok(b"two"))
        assert wire.read_response().body == b"one"
        assert wire.read_response().framing == "none"
        assert wire.read_response().body == b"two"
        wire.expect_closed()

    def test_reads_chunks_and_trailers(self, saying: Callable[[bytes], Wire]) -> None:
        wire = saying(
            b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nX: y\r\n\r\n"
        )
        message = wire.read_response()
        assert (message.body, message.chunks, message.trailers) == (b"abcd", [3, 1], [("X", "y")])

    @pytest.mark.parametrize(
        "wrong",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            b"HTTP/1.1 200 OK\r\nBad : field\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ],
    )
    def test_accepts_nothing_that_is_wrong(self, saying: Callable[[bytes], Wire], wrong: bytes) -> None:
        with pytest.raises(AssertionError):
            saying(wrong).read_response()

    @pytest.mark.parametrize(
        "cut",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\nConte",
        ],
    )
    def test_sees_what_is_cut_short(self, saying: Callable[[bytes], Wire], cut: bytes) -> None:
        with pytest.raises(Incomplete):
            saying(cut).read_response()

    def test_expects_the_end_and_nothing_before_it(self, saying: Callable[[bytes], Wire]) -> None:
        saying(b"").expect_closed()
        with pytest.raises(AssertionError):
            saying(b"more").expect_closed()


class TestAnOrigin:
    def test_comes_back_on_its_port(self) -> None:
        server = origin().named("a").start()
        port = server.port
        assert request(server).origin == "a"
        server.die()
        with pytest.raises(ConnectionError):
            request(server)
        server.start()
        assert (server.port, request(server).status) == (port, 200)

    def test_is_scripted_byte_for_byte(self) -> None:
        server = scripted()
        connection = socket.create_connection(("127.0.0.1", server.port))
        keep(connection).sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        peer = server.accept()
        assert peer.expect_request("GET", "/x").get("host") == "a"
        peer.send(b"raw").close()
        assert connection.recv(10) == b"raw"

    def test_can_be_an_address_that_refuses(self) -> None:
        host, _, port = refused_address().rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


class TestALoad:
    def test_counts_what_became_of_each_request(self) -> None:
        server = origin().named("a").start()
        tally = load(server, requests=500, clients=20)
        tally.expect_all(200, 500)
        assert tally.origins == {"a": 500}
        assert server.requests == 500
        assert server.connections <= 20

    def test_sees_failures(self) -> None:
        tally = load(origin().fault("reset").start(), requests=10, clients=2)
        assert len(tally.errors) == 2
        with pytest.raises(AssertionError):
            tally.expect_all(200)

    def test_sees_another_status(self) -> None:
        with pytest.raises(AssertionError):
            load(origin().status(503).start(), requests=10, clients=2).expect_all(200)


class TestAPlan:
    def test_knows_the_words_of_the_document(self) -> None:
        with pytest.raises(AssertionError, match="speed"):
            proxy().pool("127.0.0.1:1", health={"speed": 1})

    def test_has_a_listener_where_none_was_named(self) -> None:
        (listener,) = proxy().pool("127.0.0.1:1", name="other").document()["listeners"]
        assert (listener["name"], listener["pool"]) == ("web", "other")


def test_an_ordinary_client_keeps_its_connection() -> None:
    server = origin().start()
    one = client(server)
    assert [one.get().status, one.get("/status/404").status, one.post("/echo", b"x").json()["body"]] == [
        200,
        404,
        "x",
    ]
    assert server.connections == 1
    assert raw(server).get("/bytes/3").expect_response(200).body == b"abc"
