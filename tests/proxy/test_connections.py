"""Connections are kept alive on both sides, and given up when they should be."""

import pytest

from language import Raw, client, eventually, load, ok, origin, proxy, raw, request, response, scripted


def test_a_client_keeps_its_connection() -> None:
    running = proxy().pool(origin()).start()
    one = client(running)
    assert [one.get().status for _ in range(10)] == [200] * 10
    assert running.listener()["accepted"] == 1
    assert running.listener()["requests"] == 10


def test_many_clients_share_few_connections_to_the_endpoint() -> None:
    server = origin()
    running = proxy().pool(server).start()
    for _ in range(20):
        assert request(running).status == 200
        eventually(lambda: running.endpoint(server)["idle_connections"] == 1)
    assert running.listener()["accepted"] == 20
    assert server.connections == 1
    running.expect_nothing_left()


def test_a_load_opens_no_more_connections_than_it_has_clients() -> None:
    server = origin()
    running = proxy().pool(server).start()
    load(running, requests=2000, clients=16).expect_all(200, 2000)
    assert server.connections <= 16
    assert server.requests == 2000
    running.expect_nothing_left()


def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    server = origin().slow(20)
    running = proxy().pool(server, connections={"idle_max": 2}).start()
    load(running, requests=40, clients=10).expect_all(200, 40)
    eventually(lambda: running.endpoint(server)["connections"] == 2, "two are kept")
    assert running.endpoint(server)["idle_connections"] == 2


def test_an_idle_connection_to_an_endpoint_is_closed_in_time() -> None:
    server = scripted()
    running = proxy().pool(server, connections={"idle_timeout_ms": 50}).start()
    asking = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    connection.send(ok())
    asking.expect_response(200)
    connection.expect_closed()
    eventually(lambda: running.endpoint(server)["connections"] == 0)


def test_keep_alive_timeout_is_honoured() -> None:
    server = scripted()
    running = proxy().pool(server, connections={"idle_timeout_ms": None}).start()
    asking = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    connection.send(ok(b"ok", "Keep-Alive: timeout=1"))
    asking.expect_response(200)
    connection.expect_closed()


def test_a_connection_the_endpoint_will_close_is_not_used_again() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).get()
    first = server.accept()
    first.expect_request()
    first.send(ok(b"one", "Connection: close"))
    assert asking.expect_response(200).body == b"one"
    asking.get()
    second = server.accept()
    second.expect_request()
    second.send(ok(b"two"))
    assert asking.expect_response(200).body == b"two"
    first.expect_closed()


def test_the_newest_idle_connection_is_used_first() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    one, two = raw(running).get("/one"), raw(running)
    older = server.accept()
    older.expect_request("GET", "/one")
    two.get("/two")
    newer = server.accept()
    newer.expect_request("GET", "/two")
    older.send(ok())
    one.expect_response(200)
    newer.send(ok())
    two.expect_response(200)
    one.get("/three")
    newer.expect_request("GET", "/three")
    newer.send(ok())
    one.expect_response(200)


def test_a_connection_that_ended_while_idle_is_not_used() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).get()
    first = server.accept()
    first.expect_request()
    first.send(ok())
    asking.expect_response(200)
    first.close()
    eventually(lambda: running.endpoint(server)["connections"] == 0, "its end is noticed")
    asking.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    second = server.accept()
    second.expect_request("POST")
    second.send(ok())
    asking.expect_response(200)
    assert running.endpoint(server)["failures"] == 0


class TestAnIdleConnectionIsClosedAsItIsReused:
    """The endpoint reads the next request and closes without a word, as if it had closed just before."""

    def warm(self, asking: Raw, server: object) -> object:
        asking.get("/warm")
        connection = server.accept()  # type: ignore[attr-defined]
        connection.expect_request()
        connection.send(ok())
        asking.expect_response(200)
        return connection

    @pytest.mark.parametrize("how", ["close", "reset"])
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
    def test_a_request_that_is_safe_to_repeat_is_repeated(self, how: str, method: str) -> None:
        server = scripted()
        running = proxy().pool(server, retry={"attempts": 1, "on": []}).start()
        asking = raw(running)
        connection = self.warm(asking, server)
        asking.send(f"{method} /again HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".encode())
        connection.expect_request(method, "/again")  # type: ignore[attr-defined]
        getattr(connection, how)()
        fresh = server.accept()
        assert fresh.expect_request(method, "/again").body == b"abc"
        fresh.send(ok(b"fresh"))
        assert asking.expect_response(200).body == b"fresh"
        assert running.endpoint(server)["failures"] == 0
        assert running.verdict(server) == "healthy"

    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_a_post_is_not_repeated(self, how: str) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running)
        connection = self.warm(asking, server)
        asking.send(b"POST /again HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        connection.expect_request("POST", "/again")  # type: ignore[attr-defined]
        getattr(connection, how)()
        asking.expect_response(502)
        asking.get("/next")
        fresh = server.accept()
        fresh.expect_request("GET", "/next")
        fresh.send(ok())
        asking.expect_response(200)

    def test_a_reset_long_after_the_request_is_a_failure(self) -> None:
        server = scripted()
        running = proxy().pool(server, retry={"attempts": 1}).start()
        asking = raw(running)
        connection = self.warm(asking, server)
        asking.get("/again")
        connection.expect_request("GET", "/again")  # type: ignore[attr-defined]
        running.expect_to_live_on(1.2)
        connection.close()  # type: ignore[attr-defined]
        asking.expect_response(502)
        assert running.endpoint(server)["failures"] == 1
        assert not server.is_called()

    def test_it_gets_one_fresh_try_and_no_more(self) -> None:
        server = scripted()
        running = proxy().pool(server, retry={"attempts": 1}).start()
        asking = raw(running)
        connection = self.warm(asking, server)
        asking.get("/again")
        connection.expect_request("GET", "/again")  # type: ignore[attr-defined]
        connection.close()  # type: ignore[attr-defined]
        fresh = server.accept()
        fresh.expect_request("GET", "/again")
        fresh.close()
        asking.expect_response(502)
        assert not server.is_called()


def test_connections_to_an_endpoint_are_bounded_over_all_workers() -> None:
    server = origin().slow(5)
    running = proxy().workers(3).pool(server, connections={"max": 4}).start()
    load(running, requests=400, clients=40).expect_all(200, 400)
    assert server.stats()["in_flight_max"] <= 4
    assert running.endpoint(server)["connections"] <= 4
    running.expect_nothing_left()


def test_at_the_bound_an_idle_connection_of_another_worker_is_closed_first() -> None:
    server = origin()
    running = proxy().workers(4).pool(server, connections={"max": 1}).start()
    # The kernel chooses the worker of each client, and only one of them holds the connection.
    for _ in range(40):
        assert request(running).status == 200
    assert server.connections > 1
    assert running.endpoint(server)["connections"] == 1


@pytest.mark.parametrize("stays", [True, False], ids=["falls idle", "closes"])
def test_a_bound_that_comes_with_a_reload_is_kept_and_lets_the_next_in(stays: bool) -> None:
    server = scripted()
    running = proxy().pool(server).start()
    first = raw(running).get("/first")
    connection = server.accept()
    connection.expect_request("GET", "/first")
    running.apply(proxy().pool(server, connections={"max": 1}))
    second = raw(running).get("/second")
    eventually(lambda: running.in_flight() == 2)
    assert not server.is_called()
    if stays:
        connection.send(ok())
    else:
        connection.send(ok(b"ok", "Connection: close")).close()
    first.expect_response(200)
    next_one = connection if stays else server.accept()
    next_one.expect_request("GET", "/second")
    next_one.send(ok())
    second.expect_response(200)


def test_an_idle_client_is_let_go() -> None:
    running = proxy().listener(timeouts={"idle_ms": 50}).pool(origin()).start()
    asking = raw(running).get()
    asking.expect_response(200)
    asking.expect_closed()
    running.expect_nothing_left()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_client_that_ends_a_body_with_an_empty_line_is_idle(at_once: bool) -> None:
    timeouts = {"request_header_ms": 50, "idle_ms": 150}
    running = proxy().listener(timeouts=timeouts).pool(origin()).start()
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    asking = raw(running)
    for _ in range(2):
        asking.send(request + b"\r\n" if at_once else request).expect_response(200)
        if not at_once:
            asking.send(b"\r\n")
    asking.expect_closed()
    assert running.listener()["bad_requests"] == 0


def test_empty_lines_do_not_keep_an_idle_client() -> None:
    running = proxy().listener(timeouts={"idle_ms": 150}).pool(origin()).start()
    asking = raw(running)

    def is_let_go() -> bool:
        try:
            asking.send(b"\r\n")
        except ConnectionError:
            return True
        return asking.has_ended()

    eventually(is_let_go, within_s=10)


@pytest.mark.parametrize(
    ("version", "field", "stays"),
    [
        ("1.1", "X-Nothing: 1", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: x, Close", False),
        ("1.0", "X-Nothing: 1", False),
        ("1.0", "Connection: keep-alive", True),
    ],
)
def test_the_client_says_whether_its_connection_stays(version: str, field: str, stays: bool) -> None:
    running = proxy().pool(origin()).start()
    asking = raw(running).send(f"GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n".encode())
    answer = asking.expect_response(200)
    assert answer.asks_to_close != stays
    if stays:
        asking.get().expect_response(200)
        if version == "1.0":
            assert (answer.get("connection") or "").lower() == "keep-alive"
    else:
        asking.expect_closed()


def test_the_endpoint_sees_http_1_1_and_no_connection_field() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n")
    connection = server.accept()
    seen = connection.expect_request()
    assert seen.version == "HTTP/1.1"
    assert not seen.asks_to_close
    connection.send(response(200, b"x"))
    asking.expect_response(200)
