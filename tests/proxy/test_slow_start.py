"""Slow start: whoever joins or comes back gets its share little by little."""

from collections import Counter

from language import Origin, Plan, Running, client, endpoint, eventually, origin, proxy

# So long that a test sees the beginning of it and never its end.
LONG = {"window_ms": 3_600_000, "min_weight": 0.2}
PROBES = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100, "rise": 1, "fall": 1}


def served(running: Running, count: int) -> Counter[str]:
    one = client(running)
    return Counter(one.get().origin or "" for _ in range(count))


def expect_share_of_the_last(running: Running, servers: list[Origin]) -> None:
    """It has a weight of 0.2 beside 1 and 1: 36 of 400, and chance may make it 10 to 75."""
    counts = served(running, 400)
    assert 10 <= counts[servers[-1].name] <= 75, counts


def plan(*servers: Origin, policy: str) -> Plan:
    return proxy().pool(*servers, policy=policy, slow_start=LONG)


class TestSlowStart:
    def test_is_none_for_those_that_were_there_first(self) -> None:
        servers = [origin() for _ in range(2)]
        running = plan(*servers, policy="round_robin").start()
        assert [running.endpoint(one)["starting"] for one in servers] == [None, None]
        assert set(served(running, 10).values()) == {5}

    def test_is_for_one_that_joins_under_any_policy(self) -> None:
        for policy in ("round_robin", "random", "weighted_random", "least_request"):
            servers = [origin() for _ in range(3)]
            running = plan(*servers[:2], policy=policy).start()
            running.apply(plan(*servers, policy=policy))
            assert 0.2 <= running.endpoint(servers[2])["starting"] < 0.3
            expect_share_of_the_last(running, servers)

    def test_is_for_one_that_recovers(self) -> None:
        servers = [origin().start() for _ in range(3)]
        running = (
            proxy().pool(*servers, policy="random", slow_start=LONG, health=PROBES, fail_open=False).start()
        )
        eventually(lambda: all(running.verdict(one) == "healthy" for one in servers))
        assert [running.endpoint(one)["starting"] for one in servers] == [None] * 3
        servers[2].now("health/down")
        eventually(lambda: running.verdict(servers[2]) == "unhealthy")
        servers[2].now("health/up")
        eventually(lambda: running.verdict(servers[2]) == "healthy")
        assert [running.endpoint(one)["starting"] is None for one in servers] == [True, True, False]
        expect_share_of_the_last(running, servers)

    def test_is_not_for_one_whose_drain_ends(self) -> None:
        servers = [origin() for _ in range(2)]
        drained = proxy().pool(
            servers[0], endpoint(servers[1].start(), drain=True), policy="round_robin", slow_start=LONG
        )
        running = drained.start()
        running.apply(plan(*servers, policy="round_robin"))
        assert running.endpoint(servers[1])["starting"] is None
        assert set(served(running, 10).values()) == {5}

    def test_keeps_nobody_waiting_when_it_is_alone(self) -> None:
        servers = [origin() for _ in range(2)]
        running = plan(servers[0], policy="random").start()
        running.apply(plan(*servers, policy="random"))
        running.apply(plan(servers[1], policy="random"))
        assert served(running, 50) == {servers[1].name: 50}
