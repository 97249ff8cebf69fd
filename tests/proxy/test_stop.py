"""SIGTERM drains, a second one ends at once, and a stuck interpreter changes nothing."""

import signal
import socket

import pytest

from language import (
    SpawnedEngine,
    eventually,
    in_background,
    load,
    ok,
    origin,
    process_origin,
    proxy,
    raw,
    request,
    scripted,
    steady_load,
)


def refuses(running: SpawnedEngine) -> bool:
    try:
        with socket.create_connection(running.listening()):
            return False
    except ConnectionError:
        return True


class TestTerminate:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_lets_what_is_in_flight_end(self, number: signal.Signals) -> None:
        server = scripted()
        running = proxy().workers(2).pool(server).spawn()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        running.send_signal(number)
        eventually(lambda: refuses(running), "new connections are refused")
        assert running.process.poll() is None
        connection.send(ok(b"to the end"))
        answer = asking.expect_response(200)
        assert (answer.body, answer.asks_to_close) == (b"to the end", True)
        asking.expect_closed()
        assert running.expect_exit() == 0

    def test_lets_a_body_come_to_its_end(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        head = asking.read_response(body=False)
        running.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(running))
        connection.send(b"def")
        assert asking.read_response_body(head).body == b"abcdef"
        assert running.expect_exit() == 0

    def test_closes_idle_connections(self) -> None:
        running = proxy().pool(origin()).spawn()
        idle = [raw(running).get() for _ in range(10)]
        for one in idle:
            one.expect_response(200)
        running.send_signal(signal.SIGTERM)
        for one in idle:
            one.expect_closed()
        assert running.expect_exit() == 0

    def test_serves_who_waits_in_the_queue(self) -> None:
        server = scripted()
        running = proxy().pool(server, threshold={"requests": 1}).spawn()
        first = raw(running).get("/first")
        connection = server.accept()
        connection.expect_request("GET", "/first")
        second = raw(running).get("/second")
        eventually(lambda: running.pool()["queued"] == 1)
        running.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(running))
        connection.send(ok())
        first.expect_response(200)
        connection.expect_request("GET", "/second")
        connection.send(ok())
        second.expect_response(200)
        assert running.expect_exit() == 0

    def test_serves_and_closes_who_has_connected_already(self) -> None:
        """What lies in the backlog when the drain begins is accepted before the socket is closed."""
        server = origin()
        for _ in range(10):
            running = proxy().workers(2).pool(server).start()
            crowd = [raw(running).get() for _ in range(50)]
            running.stop()
            for one in crowd:
                one.expect_response(200)
            for one in crowd:
                one.expect_closed()
            running.expect_stopped()

    def test_fails_no_request_under_load(self) -> None:
        running = proxy().workers(2).pool(origin()).spawn()
        with steady_load(running, clients=20) as busy:
            eventually(lambda: busy.completed > 500)
            running.send_signal(signal.SIGTERM)
            assert running.expect_exit() == 0
        assert set(busy.tally.statuses) == {200}
        # An error is a connection refused, once nothing listens any more; nobody connected is cut off.
        assert [error for error in busy.tally.errors if not error.startswith("no connection")] == []

    def test_answers_a_request_that_crosses_the_end_of_its_idle_connection(self) -> None:
        running = proxy().pool(origin()).spawn()
        idle = raw(running).get()
        idle.expect_response(200)
        running.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(running), "new connections are refused")
        assert idle.get().expect_response(200).asks_to_close
        idle.expect_closed()
        assert running.expect_exit() == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_drains_the_second_engine_of_a_process_too(self, number: signal.Signals) -> None:
        running = proxy().pool(origin()).spawn(after_another=True)
        assert request(running).status == 200
        running.send_signal(number)
        assert running.expect_exit() == 0

    def test_sigusr2_does_not_end_it(self) -> None:
        running = proxy().pool(origin()).spawn()
        running.send_signal(signal.SIGUSR2)
        eventually(lambda: "SIGUSR2 does nothing" in running.errors(), "the log says so")
        assert request(running).status == 200

    def test_waits_no_longer_than_the_drain_timeout(self) -> None:
        running = proxy().drain_timeout(200).pool(origin()).spawn()
        asking = raw(running).get("/hang")
        eventually(lambda: running.in_flight() == 1)
        running.send_signal(signal.SIGTERM)
        asking.expect_closed()
        assert running.expect_exit() == 0

    def test_twice_ends_at_once(self) -> None:
        running = proxy().drain_timeout(3_600_000).pool(origin()).spawn()
        asking = raw(running).get("/hang")
        eventually(lambda: running.in_flight() == 1)
        running.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(running))
        assert running.process.poll() is None
        running.send_signal(signal.SIGTERM)
        asking.expect_closed()
        running.expect_exit()


class TestAStuckInterpreter:
    def test_does_not_stop_traffic_probes_or_recovery(self) -> None:
        server, other = origin().start(), origin().start()
        health = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100, "rise": 1, "fall": 1}
        running = proxy().pool(server, other, health=health, policy="round_robin").spawn()
        eventually(lambda: running.verdict(server) == running.verdict(other) == "healthy")
        running.block_the_interpreter()
        load(running, requests=200, clients=10).expect_all(200, 200)
        probes = server.stats()["probes"]
        server.now("health/down")
        eventually(lambda: server.stats()["probes"] >= probes + 3)
        assert {request(running).origin for _ in range(6)} == {other.name}
        server.now("health/up")
        eventually(lambda: {request(running).origin for _ in range(4)} == {server.name, other.name})

    def test_does_not_stop_the_drain(self) -> None:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        running.block_the_interpreter()
        running.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(running), "new connections are refused")
        connection.send(ok(b"to the end"))
        assert asking.expect_response(200).body == b"to the end"
        asking.expect_closed()
        running.expect_exit()


class TestAnEndpointThatIsKilled:
    def test_fails_no_request_that_is_safe_to_repeat(self) -> None:
        """SIGKILL, under load. No response had begun, since each is one small write."""
        victim, *others = (process_origin("--delay", "5ms", "--name", str(number)) for number in range(3))
        health = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100}
        running = (
            proxy()
            .workers(2)
            .pool(victim, *others, policy="round_robin", health=health, retry={"budget": None})
            .start()
        )
        eventually(lambda: all(running.verdict(one) == "healthy" for one in (victim, *others)))
        with steady_load(running, clients=30) as busy:
            eventually(lambda: busy.tally.origins["0"] > 50)
            victim.kill()
            after = busy.completed
            eventually(lambda: busy.completed > after + 500)
        busy.tally.expect_all(200)
        assert running.verdict(victim) in ("ejected", "unhealthy")
        running.expect_nothing_left()

    def test_is_told_from_one_that_is_frozen(self) -> None:
        victim, other = process_origin("--name", "0"), process_origin("--name", "1")
        running = (
            proxy()
            .pool(
                victim,
                other,
                policy="round_robin",
                timeouts={"response_ms": 200},
                retry={"on": ["connect", "reset-before-response", "timeout"], "budget": None},
            )
            .start()
        )
        with steady_load(running, clients=10) as busy:
            eventually(lambda: busy.tally.origins["0"] > 50)
            victim.freeze()
            after = busy.completed
            eventually(lambda: busy.completed > after + 500)
            victim.thaw()
        busy.tally.expect_all(200)
        running.expect_nothing_left()

    def test_comes_back_by_itself(self) -> None:
        server, other = origin().named("back").start(), origin()
        health = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100}
        running = proxy().pool(server, other, policy="round_robin", health=health).start()
        with steady_load(running, clients=10) as busy:
            eventually(lambda: busy.tally.origins["back"] > 50)
            server.die()
            eventually(lambda: running.verdict(server) != "healthy")
            server.start()
            before = busy.tally.origins["back"]
            eventually(lambda: busy.tally.origins["back"] > before + 50, within_s=60)
        busy.tally.expect_all(200)


def test_in_flight_posts_of_a_killed_endpoint_are_bad_gateways() -> None:
    server = process_origin("--fault", "hang")
    running = proxy().pool(server).start()
    waiting = [in_background(running, method="POST", body=b"x") for _ in range(5)]
    eventually(lambda: running.in_flight() == 5)
    server.kill()
    assert [one.reply().status for one in waiting] == [502] * 5
    running.expect_nothing_left()


def test_a_drain_ends_a_connection_that_never_sent_a_byte() -> None:
    running = proxy().pool(origin()).start()
    silent = raw(running)
    eventually(lambda: running.listener()["connections"] == 1)
    running.stop()
    silent.expect_closed()
    running.expect_stopped()
