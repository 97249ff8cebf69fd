"""A new configuration is swapped in whole, and nobody notices who is not meant to."""

import contextlib
import errno
import signal
import socket

import pytest

from language import (
    Plan,
    Raw,
    client,
    command,
    endpoint,
    eventually,
    in_background,
    ok,
    origin,
    proxy,
    raw,
    request,
    scripted,
    steady_load,
)
from steelyard import _core


class TestUnderLoad:
    def test_twenty_lose_no_request_even_when_one_is_broken(self) -> None:
        a, b, c = (origin().named(name) for name in "abc")
        running = proxy().workers(2).pool(a, b, policy="round_robin").start()
        with steady_load(running, clients=16) as busy:
            for turn in range(20):
                before = busy.completed
                if turn == 10:
                    with pytest.raises(_core.DocumentError):
                        running.apply(proxy().workers(2).pool(a, policy="no_such_policy"))
                else:
                    running.apply(
                        proxy().workers(2).pool(*((a, b, c) if turn % 2 else (a, b)), policy="round_robin")
                    )
                eventually(lambda before=before: busy.completed > before + 50)  # type: ignore[misc]
        busy.tally.expect_all(200)
        assert busy.tally.connections == 16
        assert running.status()["generation"] == 20
        running.expect_nothing_left()

    def test_twenty_by_signal_lose_no_request_even_when_one_is_broken(self) -> None:
        a, b = origin().start(), origin().start()
        text = """
            workers = 2
            [listeners.web]
            bind = ["127.7.0.1:{port}"]
            pool = "app"
            [pools.app]
            policy = "{policy}"
            endpoints = ["{a}", "{b}"]
            health = {{ path = "/healthz" }}
        """
        port = free_port()

        def written(policy: str) -> str:
            return text.format(port=port, policy=policy, a=a.address, b=b.address)

        running = command(written("round_robin"))
        here = At(port)
        eventually(lambda: answers(here), "it serves")
        with steady_load(here, clients=8) as busy:
            for turn in range(20):
                before = busy.completed
                running.write(
                    written("no_such_policy" if turn == 10 else ("random", "round_robin")[turn % 2])
                )
                running.send_signal(signal.SIGHUP)
                said = "no_such_policy" if turn == 10 else "reloaded"
                count = 1 if turn == 10 else turn + 1 - (turn > 10)
                eventually(lambda said=said, count=count: running.errors().count(said) >= count)  # type: ignore[misc]
                eventually(lambda before=before: busy.completed > before + 20)  # type: ignore[misc]
        busy.tally.expect_all(200)
        assert busy.tally.connections == 8

    def test_thresholds_and_queue_lose_nobody(self) -> None:
        servers = [origin().slow(1) for _ in range(2)]

        def plan(slots: int) -> Plan:
            return proxy().workers(2).pool(*servers, threshold={"requests": slots})

        running = plan(3).start()
        with steady_load(running, clients=40) as busy:
            for turn in range(10):
                before = busy.completed
                running.apply(plan(2 + turn % 3))
                eventually(lambda before=before: busy.completed > before + 100)  # type: ignore[misc]
        busy.tally.expect_all(200)
        assert max(one.stats()["in_flight_max"] for one in servers) <= 4
        running.expect_nothing_left()


class At:
    """Where something listens, for those who only need that."""

    def __init__(self, port: int) -> None:
        self.port = port

    def listening(self, listener: str = "web") -> tuple[str, int]:
        return APART, self.port


APART = "127.7.0.1"
"""Where nobody else is given a port, so that one that was free a moment ago still is."""


def free_port() -> int:
    """A port for a file, which cannot say "any" and be told which."""
    with contextlib.closing(socket.create_server((APART, 0))) as one:
        return int(one.getsockname()[1])


def answers(at: At) -> bool:
    try:
        return request(at).status == 200
    except ConnectionError:
        return False


class TestWhatSurvives:
    def test_an_open_connection(self) -> None:
        a, b = origin().named("a"), origin().named("b")
        running = proxy().pool(a).start()
        one = client(running)
        assert one.get().origin == "a"
        running.apply(proxy().pool(b))
        assert one.get().origin == "b"
        assert running.listener()["accepted"] == 1

    def test_an_idle_connection_to_an_endpoint(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        request(running)
        running.apply(proxy().pool(server, policy="random"))
        request(running)
        assert server.connections == 1

    def test_counts(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        assert [request(running).status for _ in range(5)] == [200] * 5
        running.apply(proxy().pool(server))
        assert running.endpoint(server)["requests"] == 5
        assert running.endpoint(server)["smoothed_s"] is not None
        assert running.listener()["requests"] == 5

    def test_what_is_in_flight(self) -> None:
        server = scripted()
        running = proxy().pool(server, threshold={"requests": 1}).start()
        asking = raw(running).get("/old")
        connection = server.accept()
        connection.expect_request("GET", "/old")
        running.apply(proxy().pool(server, threshold={"requests": 1}, policy="random"))
        assert running.endpoint(server)["in_flight"] == 1
        second = raw(running).get("/new")
        eventually(lambda: running.pool()["queued"] == 1, "the old request counts")
        connection.send(ok())
        asking.expect_response(200)
        connection.expect_request("GET", "/new")
        connection.send(ok())
        second.expect_response(200)

    def test_who_waits_in_the_queue_and_in_which_order(self) -> None:
        server = scripted()
        running = proxy().pool(server, threshold={"requests": 1}).start()
        first = raw(running).get("/first")
        connection = server.accept()
        connection.expect_request("GET", "/first")
        waiting: list[Raw] = []
        for number in range(6):
            waiting.append(raw(running).get(f"/{number}"))
            eventually(lambda count=number: running.pool()["queued"] == count + 1)  # type: ignore[misc]
            running.apply(proxy().pool(server, threshold={"requests": 1}))
        connection.send(ok())
        first.expect_response(200)
        for number, one in enumerate(waiting):
            connection.expect_request("GET", f"/{number}")
            connection.send(ok())
            one.expect_response(200)

    def test_a_request_whose_pool_is_gone(self) -> None:
        server, other = scripted(), origin()
        running = proxy().pool(server, connections={"idle_timeout_ms": None}).start()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        running.apply(proxy().listener(pool="new").pool(other, name="new"))
        connection.send(ok(b"to the end"))
        assert asking.expect_response(200).body == b"to the end"
        assert asking.get().expect_response(200).get("x-origin") == other.name
        connection.expect_closed()

    def test_a_tunnel(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        asking = raw(running).send(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        asking.expect_interim(101)
        running.apply(proxy().pool(origin()))
        asking.send(b"still here").expect_bytes(b"still here")

    def test_a_verdict_and_the_schedule_of_probes(self) -> None:
        health = {"path": "/healthz", "interval_ms": 3_600_000, "timeout_ms": 5000}
        sick, well = origin().start().now("health/down"), origin()

        def plan(policy: str) -> Plan:
            return proxy().pool(sick, well, policy=policy, health=health)

        running = plan("round_robin").start()
        eventually(lambda: running.verdict(sick) == "unhealthy" and running.verdict(well) == "healthy")
        for policy in ("random", "weighted", "round_robin"):
            running.apply(plan(policy))
            assert (running.verdict(sick), running.verdict(well)) == ("unhealthy", "healthy")
        assert (sick.stats()["probes"], well.stats()["probes"]) == (1, 1)

    def test_probing_however_often_it_is_reloaded(self) -> None:
        health = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100}
        server = origin()
        running = proxy().pool(server, health=health).start()

        def reloaded_and_probed() -> bool:
            running.apply(proxy().pool(server, health=health))
            return server.stats()["probes"] >= 5

        eventually(reloaded_and_probed, "it is probed all the same")
        assert running.status()["generation"] > 5

    def test_an_ejection(self) -> None:
        bad, good = origin().fault("reset"), origin()
        running = proxy().pool(bad, good, policy="round_robin").start()
        for _ in range(8):
            request(running)
        assert running.verdict(bad) == "ejected"
        running.apply(proxy().pool(bad, good, policy="weighted"))
        assert running.verdict(bad) == "ejected"

    def test_the_rotation(self) -> None:
        servers = [origin().named(str(number)) for number in range(3)]
        running = proxy().pool(*servers, policy="round_robin").start()
        row = []
        for _ in range(9):
            row.append(request(running).origin)
            running.apply(proxy().pool(*servers, policy="round_robin"))
        assert "".join(str(one) for one in row) == "012012012"


class TestWhatIsRefused:
    def test_leaves_everything_as_it_was(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        one = client(running)
        one.get()
        with pytest.raises(_core.DocumentError):
            running.apply(proxy().listener(pool="nowhere").pool(server))
        assert one.get().status == 200
        assert running.status()["generation"] == 1

    def test_because_an_address_is_taken_leaves_nothing_bound(self) -> None:
        server = origin()
        taken = scripted()
        running = proxy().pool(server).start()
        free = free_port()
        with pytest.raises(_core.BindError):
            running.apply(
                proxy()
                .listener()
                .listener("new", bind=[f"{APART}:{free}"])
                .listener("taken", bind=[taken.address])
                .pool(server)
            )
        assert [one["name"] for one in running.status()["listeners"]] == ["web"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((APART, free))
        assert request(running).status == 200


def test_an_endpoint_that_leaves_and_comes_back_is_the_same() -> None:
    busy, other = origin().start(), origin().start()
    running = proxy().pool(busy, other, policy="round_robin").start()
    asking = [raw(running).get("/hang") for _ in range(2)]
    eventually(lambda: running.in_flight() == 2)
    running.apply(proxy().pool(other, policy="round_robin"))
    running.apply(proxy().pool(busy, other, policy="round_robin"))
    assert [running.endpoint(one)["in_flight"] for one in (busy, other)] == [1, 1]
    for one in asking:
        one.close()
    eventually(lambda: running.in_flight() == 0)


def is_refused(address: tuple[str, int]) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(address) == errno.ECONNREFUSED


class TestListeners:
    def test_are_added(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        one = client(running)
        one.get()
        running.apply(proxy().listener().listener("more").pool(server))
        assert request(running, listener="more").status == 200
        assert one.get().status == 200

    def test_are_removed_after_what_they_carry_has_ended(self) -> None:
        server = scripted()
        running = proxy().workers(2).listener().listener("less").pool(server).start()
        address = running.listening("less")
        asking, idle = raw(running, "less").get("/busy"), raw(running, "less")
        connection = server.accept()
        connection.expect_request("GET", "/busy")
        running.apply(proxy().workers(2).listener().pool(server))
        idle.expect_closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        connection.send(ok(b"last"))
        answer = asking.expect_response(200)
        assert (answer.body, answer.asks_to_close) == (b"last", True)
        asking.expect_closed()

    def test_answer_a_request_that_crosses_their_removal(self) -> None:
        server = origin()
        running = proxy().listener().listener("less").pool(server).start()
        address, idle = running.listening("less"), raw(running, "less").get()
        idle.expect_response(200)
        running.apply(proxy().listener().pool(server))
        eventually(lambda: is_refused(address), "nothing listens")
        assert idle.get().expect_response(200).asks_to_close
        idle.expect_closed()

    def test_come_back_on_their_address(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        bind = [f"{APART}:{free_port()}"]
        for _ in range(5):
            running.apply(proxy().listener().listener("again", bind=bind).pool(server))
            assert request(running, listener="again").status == 200
            running.apply(proxy().listener().pool(server))

    def test_take_their_new_limits_at_once(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        asking = raw(running).get()
        asking.expect_response(200)
        running.apply(proxy().listener(limits={"target_bytes_max": 10}).pool(server))
        asking.get("/a-long-target").expect_response(414)


class TestRunTimeChanges:
    def test_a_drained_endpoint_takes_no_new_request(self) -> None:
        a, b = origin().named("a"), origin().named("b")
        running = proxy().pool(a, b, policy="round_robin").start()
        running.apply(proxy().pool(endpoint(a, drain=True), b, policy="round_robin"))
        assert running.verdict(a) == "draining"
        assert {request(running).origin for _ in range(10)} == {"b"}
        running.apply(proxy().pool(a, b, policy="round_robin"))
        assert {request(running).origin for _ in range(10)} == {"a", "b"}

    def test_a_weight_holds_from_the_next_request_on(self) -> None:
        a, b = origin().named("a"), origin().named("b")
        running = proxy().pool(a, b, policy="weighted").start()
        running.apply(proxy().pool(endpoint(a, weight=3), b, policy="weighted"))
        row = [request(running).origin for _ in range(8)]
        assert (row.count("a"), row.count("b")) == (6, 2)
        assert running.endpoint(a)["weight"] == 3

    def test_an_endpoint_that_is_removed_ends_what_it_has(self) -> None:
        server, other = origin(), origin()
        running = proxy().pool(server, connections={"idle_timeout_ms": None}).start()
        waiting = in_background(running, "/delay/100")
        eventually(lambda: running.in_flight() == 1)
        running.apply(proxy().pool(other))
        assert waiting.reply().origin == server.name
        eventually(lambda: server.stats()["open"] == 0, "its connections are closed")
