"""When a client goes away, what was in flight for it is cancelled and counted down."""

import threading

import pytest

from language import Raw, Running, eventually, load, ok, origin, proxy, raw, request, scripted

LEAVING = pytest.mark.parametrize("how", ["close", "reset", "half_close"])


def leave(asking: Raw, how: str) -> None:
    getattr(asking, how)()


@LEAVING
def test_before_the_response(how: str) -> None:
    server = origin()
    running = proxy().pool(server).start()
    asking = raw(running).get("/hang")
    eventually(lambda: server.in_flight == 1)
    assert running.in_flight() == 1
    leave(asking, how)
    eventually(lambda: server.in_flight == 0, "the endpoint is told")
    running.expect_nothing_left()
    assert server.stats()["aborted"] == 1
    assert running.endpoint(server)["failures"] == 0


@LEAVING
def test_behind_pipelined_bytes_that_nobody_has_read(how: str) -> None:
    server = origin()
    running = proxy().pool(server).start()
    asking = raw(running).get("/hang")
    eventually(lambda: server.in_flight == 1)
    asking.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    leave(asking, how)
    eventually(lambda: server.in_flight == 0, "the endpoint is told")
    running.expect_nothing_left()
    assert server.requests == 1


def test_behind_more_pipelined_bytes_than_are_kept() -> None:
    server = origin()
    running = proxy().pool(server).start()
    asking = raw(running).get("/hang")
    eventually(lambda: server.in_flight == 1)
    asking.socket.settimeout(1)
    sending = threading.Thread(target=send_what_goes, args=(asking,))
    sending.start()
    sending.join()
    asking.reset()
    eventually(lambda: server.in_flight == 0, "the endpoint is told")
    running.expect_nothing_left()


def send_what_goes(asking: Raw) -> None:
    """Fills every buffer there is on the way."""
    try:
        for _ in range(1000):
            asking.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
    except (TimeoutError, ConnectionError):
        pass


@LEAVING
def test_within_its_request_head(how: str) -> None:
    server = origin().start()
    running = proxy().pool(server).start()
    leave(raw(running).send(b"GET / HTTP/1.1\r\nHo"), how)
    running.expect_nothing_left()
    assert server.requests == 0


@LEAVING
@pytest.mark.parametrize(
    "begin", ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
)
def test_within_its_request_body(how: str, begin: str) -> None:
    """The endpoint must not take what it has for the whole."""
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).send(f"POST / HTTP/1.1\r\nHost: a\r\n{begin}".encode())
    connection = server.accept()
    connection.expect_request_head()
    connection.expect_bytes(b"abc" if "Length" in begin else b"3\r\nabc\r\n")
    leave(asking, how)
    connection.expect_closed()
    running.expect_nothing_left()
    assert not server.is_called()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_within_the_response(how: str) -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    asking.read_response(body=False)
    leave(asking, how)
    connection.expect_closed()
    running.expect_nothing_left()
    assert running.endpoint(server)["failures"] == 0


def test_with_a_large_response_half_read() -> None:
    server = origin()
    running = proxy().pool(server).start()
    asking = raw(running, receive_bytes=4096).get("/bytes/50000000")
    asking.read_response(body=False)
    asking.close()
    eventually(lambda: server.in_flight == 0)
    running.expect_nothing_left()


def test_within_a_tunnel() -> None:
    server = origin()
    running = proxy().pool(server).start()
    asking = raw(running).send(
        b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    )
    asking.expect_interim(101)
    asking.reset()
    running.expect_nothing_left()
    eventually(lambda: server.stats()["open"] == 0)


def test_while_it_waits_for_a_connection() -> None:
    """A pool whose only endpoint never takes a connection: the client leaves before the connect times out."""
    # TEST-NET-1, where nothing answers. Where the network refuses at once the request fails instead.
    running = proxy().pool("192.0.2.1:9", timeouts={"connect_ms": 60_000}).start()
    asking = raw(running).get()
    eventually(lambda: running.listener()["requests"] == 1)
    asking.reset()
    running.expect_nothing_left()


class TestWhileItWaitsInTheQueue:
    def full(self) -> tuple[Running, object, Raw]:
        server = scripted()
        running = proxy().pool(server, threshold={"requests": 1}).start()
        first = raw(running).get("/first")
        connection = server.accept()
        connection.expect_request("GET", "/first")
        return running, connection, first

    @LEAVING
    def test_its_place_is_given_up(self, how: str) -> None:
        running, connection, first = self.full()
        second = raw(running).get("/second")
        eventually(lambda: running.pool()["queued"] == 1)
        third = raw(running).get("/third")
        eventually(lambda: running.pool()["queued"] == 2)
        leave(second, how)
        eventually(lambda: running.pool()["queued"] == 1)
        connection.send(ok())  # type: ignore[attr-defined]
        first.expect_response(200)
        connection.expect_request("GET", "/third")  # type: ignore[attr-defined]
        connection.send(ok())  # type: ignore[attr-defined]
        third.expect_response(200)


def test_many_at_once_leave_nothing_behind() -> None:
    server = origin()
    running = proxy().workers(2).pool(server, threshold={"requests": 20}).start()
    for turn in range(5):
        crowd = [raw(running).get("/delay/50") for _ in range(60)]
        eventually(lambda: running.in_flight() == 20)
        for number, one in enumerate(crowd):
            leave(one, ["close", "reset", "half_close"][(number + turn) % 3])
        running.expect_nothing_left()
    eventually(lambda: server.in_flight == 0)
    load(running, requests=100, clients=10).expect_all(200, 100)
    assert request(running).status == 200
