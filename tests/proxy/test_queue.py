"""Where requests wait when every endpoint is at its threshold: nobody is lost, overtaken or stranded."""

from language import (
    Origin,
    Raw,
    Running,
    ScriptedConnection,
    endpoint,
    eventually,
    in_background,
    load,
    ok,
    origin,
    proxy,
    raw,
    request,
    scripted,
)
from language.client import Pending

UPGRADE = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def one_served_at_a_time(**queue: int | None) -> tuple[Running, ScriptedConnection, Raw]:
    """A pool that is full: its only endpoint plays for time with the first request."""
    server = scripted()
    running = proxy().pool(server, threshold={"requests": 1}, queue=queue).start()
    first = raw(running).get("/first")
    connection = server.accept()
    connection.expect_request("GET", "/first")
    return running, connection, first


class TestOrder:
    def test_is_that_of_arrival(self) -> None:
        running, connection, first = one_served_at_a_time()
        waiting = []
        for number in range(10):
            waiting.append(raw(running).get(f"/{number}"))
            eventually(lambda count=number: running.pool()["queued"] == count + 1)  # type: ignore[misc]
        connection.send(ok())
        first.expect_response(200)
        for number, one in enumerate(waiting):
            connection.expect_request("GET", f"/{number}")
            connection.send(ok())
            one.expect_response(200)
        assert running.pool()["queued"] == 0

    def test_is_kept_across_workers(self) -> None:
        server = scripted()
        running = proxy().workers(4).pool(server, threshold={"requests": 1}, retry={"attempts": 1}).start()
        first = raw(running).get("/first")
        held = server.accept()
        held.expect_request("GET", "/first")
        waiting = []
        for number in range(12):
            waiting.append(raw(running).get(f"/{number}"))
            eventually(lambda count=number: running.pool()["queued"] == count + 1)  # type: ignore[misc]
        held.send(ok(b"ok", "Connection: close")).close()
        first.expect_response(200)
        for number, one in enumerate(waiting):
            connection = server.accept()
            connection.expect_request("GET", f"/{number}")
            connection.send(ok(b"ok", "Connection: close")).close()
            one.expect_response(200)

    def test_is_not_upset_by_newcomers(self) -> None:
        """A slot that falls free is handed over; who comes just then waits behind."""
        running, connection, first = one_served_at_a_time()
        second = raw(running).get("/second")
        eventually(lambda: running.pool()["queued"] == 1)
        # The answer and the newcomer arrive together.
        newcomer = raw(running)
        connection.send(ok())
        newcomer.get("/newcomer")
        first.expect_response(200)
        connection.expect_request("GET", "/second")
        connection.send(ok())
        second.expect_response(200)
        connection.expect_request("GET", "/newcomer")
        connection.send(ok())
        newcomer.expect_response(200)


class TestACrowd:
    def test_of_five_hundred_is_served_to_the_last(self) -> None:
        servers = [origin().slow(1), origin().slow(1)]
        running = proxy().workers(4).pool(*servers, threshold={"requests": 5}).start()
        load(running, requests=3000, clients=500).expect_all(200, 3000)
        assert max(one.stats()["in_flight_max"] for one in servers) <= 5
        assert sum(one.requests for one in servers) == 3000
        running.expect_nothing_left()

    def test_of_five_hundred_at_one_endpoint_with_one_slot(self) -> None:
        server = origin()
        running = proxy().workers(4).pool(server, threshold={"requests": 1}).start()
        load(running, requests=1000, clients=500).expect_all(200, 1000)
        assert server.stats()["in_flight_max"] == 1
        running.expect_nothing_left()

    def test_survives_an_endpoint_that_fails_each_time(self) -> None:
        bad, good = origin().fault("reset"), origin().slow(1)
        running = (
            proxy().workers(2).pool(bad, good, threshold={"requests": 2}, retry={"budget": None}).start()
        )
        load(running, requests=500, clients=100).expect_all(200, 500)
        running.expect_nothing_left()


class TestTimeout:
    def test_is_503_with_retry_after(self) -> None:
        running, connection, first = one_served_at_a_time(timeout_ms=50)
        late = raw(running).get("/late")
        answer = late.expect_response(503)
        assert int(answer.get("retry-after") or "") >= 1
        assert running.pool()["queue_timeouts"] == 1
        assert running.pool()["queued"] == 0
        # It was the proxy that was busy, not the client that was wrong.
        connection.send(ok())
        first.expect_response(200)
        late.get("/later")
        connection.expect_request("GET", "/later")
        connection.send(ok())
        late.expect_response(200)

    def test_of_the_whole_request_is_not_the_queues(self) -> None:
        running, connection, first = one_served_at_a_time()
        at = connection.socket.getsockname()[1]
        hurried = proxy().pool(f"127.0.0.1:{at}", threshold={"requests": 1}, timeouts={"total_ms": 50})
        running.apply(hurried)
        raw(running).get("/late").expect_response(503)
        assert running.pool()["queue_timeouts"] == 0
        connection.send(ok())
        first.expect_response(200)

    def test_does_not_hold_those_behind(self) -> None:
        server = origin()
        running = proxy().pool(server, threshold={"requests": 1}, queue={"timeout_ms": 30}).start()
        hanging = in_background(running, "/hang", method="POST")
        eventually(lambda: running.in_flight() == 1)
        waiting = [in_background(running) for _ in range(20)]
        assert [one.reply().status for one in waiting] == [503] * 20
        assert running.pool()["queue_timeouts"] == 20
        server.die()
        assert hanging.reply().status == 502


class TestAFullQueue:
    def test_turns_away_at_once(self) -> None:
        running, connection, first = one_served_at_a_time(size=2)
        waiting = []
        for number in range(2):
            waiting.append(raw(running).get(f"/{number}"))
            eventually(lambda count=number: running.pool()["queued"] == count + 1)  # type: ignore[misc]
        answer = raw(running).get("/too-many").expect_response(503)
        assert int(answer.get("retry-after") or "") >= 1
        connection.send(ok())
        first.expect_response(200)
        for number, one in enumerate(waiting):
            connection.expect_request("GET", f"/{number}")
            connection.send(ok())
            one.expect_response(200)

    def test_may_be_none_at_all(self) -> None:
        running, _, _ = one_served_at_a_time(size=None)
        raw(running).get("/second").expect_response(503)

    def test_counts_to_the_last_place_under_load(self) -> None:
        server = origin()
        running = proxy().workers(4).pool(server, threshold={"requests": 2}, queue={"size": 10}).start()
        crowd = [raw(running).get("/delay/300") for _ in range(30)]
        statuses = sorted(one.read_response().status for one in crowd)
        assert statuses == [200] * 12 + [503] * 18


def test_who_waits_is_served_by_whoever_returns() -> None:
    drained, other = origin(), origin()
    running = proxy().pool(drained, endpoint(other, drain=True), threshold={"requests": 1}).start()
    hanging = in_background(running, "/hang", method="POST")
    eventually(lambda: running.in_flight() == 1)
    waiting = in_background(running)
    eventually(lambda: running.pool()["queued"] == 1)
    running.apply(proxy().pool(drained, other, threshold={"requests": 1}))
    assert waiting.reply().origin == other.name
    drained.die()
    assert hanging.reply().status == 502


class TestAPoolThatLeaves:
    """Its endpoint is held by a tunnel, and a request waits for it."""

    def one_waits_for_a_tunnel(self) -> tuple[Running, Raw, Pending, Origin]:
        server = origin()
        running = proxy().pool(server, threshold={"requests": 1}, queue={"timeout_ms": None}).start()
        tunnel = raw(running).send(UPGRADE)
        tunnel.expect_interim(101)
        waiting = in_background(running)
        eventually(lambda: running.pool()["queued"] == 1)
        return running, tunnel, waiting, server

    def test_serves_those_who_wait_with_what_falls_free(self) -> None:
        running, tunnel, waiting, server = self.one_waits_for_a_tunnel()
        running.apply(proxy().pool(origin(), name="other"))
        tunnel.close()
        assert waiting.reply().origin == server.name
        running.expect_nothing_left()

    def test_and_comes_back_counts_on(self) -> None:
        running, tunnel, waiting, server = self.one_waits_for_a_tunnel()
        running.apply(proxy().pool(origin(), name="other"))
        running.apply(proxy().pool(server, threshold={"requests": 1}))
        assert running.pool()["queued"] == 1
        assert running.in_flight() == 1
        tunnel.close()
        assert waiting.reply().origin == server.name
        running.expect_nothing_left()

    def test_is_still_looked_at_for_loads_that_fall_by_themselves(self) -> None:
        server = origin().body_bytes(1_000_000)
        running = (
            proxy().pool(server, threshold={"bytes_per_second": 20_000}, queue={"timeout_ms": None}).start()
        )
        assert request(running).status == 200
        eventually(lambda: running.endpoint(server)["over_threshold"] == "bytes_per_second")
        waiting = in_background(running)
        eventually(lambda: running.pool()["queued"] == 1)
        running.apply(proxy().pool(origin(), name="other"))
        assert waiting.reply().origin == server.name


def test_who_waits_is_turned_away_when_the_last_endpoint_is_gone_for_good() -> None:
    server = origin()
    running = proxy().pool(server, threshold={"requests": 1}, queue={"timeout_ms": None}).start()
    hanging = in_background(running, "/hang", method="POST")
    eventually(lambda: running.in_flight() == 1)
    waiting = in_background(running)
    eventually(lambda: running.pool()["queued"] == 1)
    running.apply(proxy().pool(endpoint(server, drain=True), threshold={"requests": 1}))
    assert waiting.reply().status == 503
    assert running.pool()["queue_timeouts"] == 0
    server.die()
    assert hanging.reply().status == 502
    assert request(running).status == 503
