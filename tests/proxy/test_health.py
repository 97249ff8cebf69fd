"""Verdicts: from probes, from failures of real requests, and what becomes of requests meanwhile."""

import pytest

from language import (
    Running,
    endpoint,
    eventually,
    in_background,
    load,
    ok,
    origin,
    proxy,
    raw,
    refused_address,
    request,
    scripted,
)

PROBES = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100, "rise": 2, "fall": 2}
# Where the test answers the probes itself, and must not be too slow for them.
PATIENT = {**PROBES, "interval_ms": 400, "timeout_ms": 400}
RARE = {**PROBES, "interval_ms": 3_600_000, "timeout_ms": 5000}


def expect_verdict(running: Running, at: object, verdict: str) -> None:
    eventually(lambda: running.verdict(at) == verdict, f"it is {verdict}")  # type: ignore[arg-type]


class TestProbes:
    def test_find_what_is_healthy(self) -> None:
        server = origin()
        running = proxy().pool(server, health=PROBES).start()
        expect_verdict(running, server, "healthy")
        assert "200" in running.endpoint(server)["why"]
        eventually(lambda: server.stats()["probes"] >= 5)
        assert server.requests == 0

    def test_find_what_is_not_and_what_is_again(self) -> None:
        sick, well = origin().start(), origin()
        running = proxy().pool(sick, well, policy="round_robin", health=PROBES).start()
        expect_verdict(running, sick, "healthy")
        sick.now("health/down")
        expect_verdict(running, sick, "unhealthy")
        assert "503" in running.endpoint(sick)["why"]
        assert {request(running).origin for _ in range(6)} == {well.name}
        sick.now("health/up")
        expect_verdict(running, sick, "healthy")
        assert {request(running).origin for _ in range(6)} == {sick.name, well.name}

    def test_find_a_server_that_went_and_came_back(self) -> None:
        server, other = origin().start(), origin()
        running = proxy().pool(server, other, health=PROBES).start()
        expect_verdict(running, server, "healthy")
        server.die()
        expect_verdict(running, server, "unhealthy")
        assert {request(running).origin for _ in range(6)} == {other.name}
        server.start()
        expect_verdict(running, server, "healthy")

    def test_take_as_many_bad_answers_as_they_are_told(self) -> None:
        server = scripted()
        running = proxy().pool(server, health={**PATIENT, "fall": 3, "rise": 2}).start()

        def answer(status: int) -> None:
            connection = server.accept()
            connection.expect_request("GET", "/healthz")
            connection.send(f"HTTP/1.1 {status} S\r\nContent-Length: 0\r\n\r\n".encode())
            connection.close()

        answer(200)
        expect_verdict(running, server, "healthy")
        # After each answer the next probe shows that this one has been taken in.
        for _ in range(2):
            answer(500)
        probe = server.accept()
        assert running.verdict(server) == "healthy"
        probe.expect_request()
        probe.send(b"HTTP/1.1 500 S\r\nContent-Length: 0\r\n\r\n")
        expect_verdict(running, server, "unhealthy")
        answer(200)
        probe = server.accept()
        assert running.verdict(server) == "unhealthy"
        probe.expect_request()
        probe.send(ok())
        expect_verdict(running, server, "healthy")

    def test_ask_as_they_are_told(self) -> None:
        server = scripted()
        proxy().pool(server, health={**RARE, "path": "/up?full=1", "host": "app.internal"}).start()
        seen = server.accept().expect_request("GET", "/up?full=1")
        assert seen.get("host") == "app.internal"

    def test_name_the_endpoint_where_no_host_is_given(self) -> None:
        server = scripted()
        proxy().pool(server, health=RARE).start()
        assert server.accept().expect_request("GET", "/healthz").get("host") == server.address

    @pytest.mark.parametrize(
        ("expected", "verdict"), [([[200, 299]], "unhealthy"), ([[500, 503]], "healthy")]
    )
    def test_compare_the_status(self, expected: list[list[int]], verdict: str) -> None:
        server = origin().start().now("health/down")
        running = proxy().pool(server, health={**PROBES, "expect_status": expected}).start()
        expect_verdict(running, server, verdict)

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 2000 OK\r\n\r\n", b"garbage\r\n\r\n", b"", b"HTTP/1.1 200"]
    )
    def test_take_no_nonsense(self, answer: bytes) -> None:
        server = scripted()
        running = proxy().pool(server, health=RARE).start()
        connection = server.accept()
        connection.expect_request()
        connection.send(answer).close()
        expect_verdict(running, server, "unhealthy")

    def test_do_not_wait_for_ever(self) -> None:
        server = scripted()
        running = proxy().pool(server, health={**RARE, "timeout_ms": 50}).start()
        connection = server.accept()
        connection.expect_request()
        expect_verdict(running, server, "unhealthy")
        connection.expect_closed()

    def test_are_a_connection_where_no_path_is_given(self) -> None:
        server = scripted()
        running = proxy().pool(server, refused := refused_address(), health={**RARE, "path": None}).start()
        server.accept().expect_closed()
        expect_verdict(running, server, "healthy")
        expect_verdict(running, refused, "unhealthy")

    def test_are_no_traffic(self) -> None:
        server = origin()
        running = proxy().pool(server, health=PROBES).start()
        eventually(lambda: server.stats()["probes"] >= 3)
        status = running.endpoint(server)
        assert (status["requests"], status["failures"], status["in_flight"]) == (0, 0, 0)

    def test_may_be_off(self) -> None:
        running = proxy().pool(refused := refused_address()).start()
        assert running.verdict(refused) == "healthy"
        assert request(running).status == 502


class TestAnUnknownEndpoint:
    def test_is_used_only_while_none_is_healthy(self) -> None:
        unknown, healthy = scripted(), origin()
        running = proxy().pool(unknown, healthy, policy="round_robin", health=RARE).start()
        unknown.accept().expect_request("GET", "/healthz")
        expect_verdict(running, healthy, "healthy")
        assert running.verdict(unknown) == "unknown"
        assert {request(running).origin for _ in range(6)} == {healthy.name}

    def test_is_used_where_there_is_no_other(self) -> None:
        unknown = scripted()
        running = proxy().pool(unknown, health=RARE).start()
        unknown.accept().expect_request("GET", "/healthz")
        assert running.verdict(unknown) == "unknown"
        asking = raw(running).get("/real")
        connection = unknown.accept()
        connection.expect_request("GET", "/real")
        connection.send(ok())
        asking.expect_response(200)

    def test_is_decided_by_one_answer(self) -> None:
        sick = origin().start().now("health/down")
        running = proxy().pool(sick, health={**RARE, "fall": 10}).start()
        expect_verdict(running, sick, "unhealthy")
        assert sick.stats()["probes"] == 1

    def test_is_probed_at_once_when_it_joins(self) -> None:
        first, second = origin(), origin()
        running = proxy().pool(first, health=RARE).start()
        expect_verdict(running, first, "healthy")
        running.apply(proxy().pool(first, second, health=RARE))
        expect_verdict(running, second, "healthy")
        assert first.stats()["probes"] == 1


class TestFailuresOfRequests:
    def test_eject_after_three_in_a_row(self) -> None:
        bad, good = origin().named("bad").fault("reset"), origin().named("good")
        running = proxy().pool(bad, good, policy="round_robin").start()
        for _ in range(12):
            assert request(running).origin == "good"
        assert running.verdict(bad) == "ejected"
        assert running.endpoint(bad)["failures"] == 3
        assert bad.requests == 3

    def test_end_an_ejection_without_a_probe_where_probes_are_off(self) -> None:
        bad = origin().fault("reset")
        running = proxy().pool(bad).spawn()
        for _ in range(3):
            assert request(running).status == 502
        eventually(lambda: "ejection is over" in running.errors())
        assert "probing" not in running.errors()

    def test_do_not_eject_where_a_success_comes_between(self) -> None:
        server, other = origin().start(), origin()
        running = proxy().pool(server, other, policy="round_robin", retry={"attempts": 1}).start()
        for _ in range(5):
            server.now("fault/reset")
            while running.endpoint(server)["failures"] % 2 == 0:
                request(running)
            server.now("fault/off")
            before = server.requests
            while server.requests == before:
                request(running)
            server.now("fault/reset")
            before = running.endpoint(server)["failures"]
            while running.endpoint(server)["failures"] == before:
                request(running)
            server.now("fault/off")
            before = server.requests
            while server.requests == before:
                request(running)
        assert running.verdict(server) == "healthy"

    def test_that_are_the_clients_do_not_eject(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        for number in range(5):
            asking = raw(running).get("/hang")
            eventually(lambda: server.in_flight == 1)
            asking.reset()
            eventually(lambda count=number: server.stats()["aborted"] == count + 1)  # type: ignore[misc]
        for _ in range(5):
            assert request(running, target="/status/404").status == 404
        running.expect_nothing_left()
        assert running.verdict(server) == "healthy"

    def test_of_status_5xx_eject(self) -> None:
        bad, good = origin().status(500), origin()
        running = proxy().pool(bad, good, policy="round_robin").start()
        for _ in range(10):
            request(running)
        assert running.verdict(bad) == "ejected"
        assert bad.requests == 3

    def test_end_by_themselves(self) -> None:
        bad, good = origin().named("bad").start(), origin().named("good")
        bad.now("fault/reset")
        running = proxy().pool(bad, good, policy="round_robin").start()
        for _ in range(8):
            request(running)
        assert running.verdict(bad) == "ejected"
        bad.now("fault/off")
        expect_verdict(running, bad, "healthy")
        assert {request(running).origin for _ in range(4)} == {"bad", "good"}

    def test_are_not_ended_early_by_a_good_probe(self) -> None:
        bad, good = origin().fault("reset"), origin()
        running = proxy().pool(bad, good, policy="round_robin", health=PROBES).start()
        expect_verdict(running, bad, "healthy")
        expect_verdict(running, good, "healthy")
        for _ in range(8):
            request(running)
        assert running.verdict(bad) == "ejected"
        before = bad.stats()["probes"]
        eventually(lambda: bad.stats()["probes"] >= before + 5, "it is probed")
        assert running.verdict(bad) == "ejected"


class TestARefusedConnection:
    def test_is_not_seen_by_the_client(self) -> None:
        good = origin()
        running = proxy().pool(*(refused_address() for _ in range(3)), good, policy="round_robin").start()
        assert [request(running).status for _ in range(8)] == [200] * 8

    def test_is_not_seen_by_a_post_either(self) -> None:
        good = origin()
        running = proxy().pool(refused_address(), good, policy="round_robin").start()
        replies = [request(running, "POST", "/echo", body=b"x" * 200_000) for _ in range(4)]
        assert [reply.json()["body_bytes"] for reply in replies] == [200_000] * 4

    def test_uses_up_no_attempt_and_no_budget(self) -> None:
        good = origin()
        addresses = [refused_address() for _ in range(5)]
        running = proxy().pool(*addresses, good, policy="round_robin", retry={"attempts": 1}).start()
        assert request(running).status == 200

    def test_of_all_is_a_bad_gateway(self) -> None:
        running = proxy().pool(refused_address(), refused_address()).start()
        assert request(running).status == 502

    def test_ejects(self) -> None:
        good = origin()
        running = proxy().pool(refused := refused_address(), good, policy="round_robin").start()
        load(running, requests=50, clients=5).expect_all(200, 50)
        assert running.verdict(refused) == "ejected"


class TestWhenNoneIsUsable:
    @pytest.mark.parametrize(("fail_open", "status"), [(True, 200), (False, 503)])
    def test_unhealthy_ones_are_used_or_not(self, fail_open: bool, status: int) -> None:
        servers = [origin().start().now("health/down") for _ in range(2)]
        running = proxy().pool(*servers, fail_open=fail_open, health=PROBES, policy="round_robin").start()
        for one in servers:
            expect_verdict(running, one, "unhealthy")
        assert [request(running).status for _ in range(4)] == [status] * 4
        assert sum(one.requests for one in servers) == (4 if fail_open else 0)

    def test_draining_ones_never_are(self) -> None:
        draining, sick = origin().start(), origin().start().now("health/down")
        running = proxy().pool(endpoint(draining, drain=True), sick, health=PROBES).start()
        expect_verdict(running, sick, "unhealthy")
        assert {request(running).origin for _ in range(5)} == {sick.name}
        assert running.verdict(draining) == "draining"

    def test_thresholds_still_hold(self) -> None:
        sick = origin().start().now("health/down")
        running = proxy().pool(sick, health=PROBES, threshold={"requests": 2}).start()
        expect_verdict(running, sick, "unhealthy")
        load(running, requests=60, clients=12, path="/delay/2").expect_all(200, 60)
        assert sick.stats()["in_flight_max"] == 2

    def test_503_comes_at_once_and_not_after_the_queue(self) -> None:
        sick = origin().start().now("health/down")
        queue = {"timeout_ms": None}
        running = proxy().pool(sick, fail_open=False, health=PROBES, queue=queue).start()
        expect_verdict(running, sick, "unhealthy")
        reply = request(running)
        assert (reply.status, bool(reply.get("retry-after"))) == (503, True)
        sick.now("health/up")
        expect_verdict(running, sick, "healthy")
        assert request(running).status == 200


def test_a_draining_endpoint_ends_what_it_has() -> None:
    server, other = scripted(), origin()
    running = proxy().pool(server, policy="round_robin").start()
    asking = raw(running).get()
    connection = server.accept()
    connection.expect_request()
    running.apply(proxy().pool(endpoint(server, drain=True), other, policy="round_robin"))
    assert {request(running).origin for _ in range(4)} == {other.name}
    assert running.endpoint(server)["in_flight"] == 1
    connection.send(ok(b"to the end"))
    assert asking.expect_response(200).body == b"to the end"


def test_a_frozen_pool_is_found_out_while_requests_wait() -> None:
    hanging, good = origin().fault("hang"), origin()
    running = (
        proxy()
        .pool(hanging, good, policy="round_robin", timeouts={"response_ms": 60}, retry={"attempts": 1})
        .start()
    )
    waiting = [in_background(running) for _ in range(12)]
    statuses = {one.reply().status for one in waiting}
    assert statuses == {200, 504}
    expect_verdict(running, hanging, "ejected")
