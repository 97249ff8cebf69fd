"""Priorities with failover, zone preference and panic, as clients see them."""

from collections import Counter

from language import (
    Origin,
    Plan,
    Running,
    client,
    endpoint,
    eventually,
    in_background,
    origin,
    proxy,
    request,
)

PROBES = {"path": "/healthz", "interval_ms": 100, "timeout_ms": 100, "rise": 1, "fall": 1}


def served(running: Running, count: int) -> Counter[str]:
    """Whom so many requests came to. The status may know of a verdict a moment before picks go by it."""
    one = client(running)
    return Counter(one.get().origin or "" for _ in range(count))


def loads(running: Running) -> list[int]:
    return [level["load_percent"] for level in running.pool()["levels"]]


def expect_verdicts(running: Running, servers: list[Origin], verdict: str) -> None:
    eventually(lambda: all(running.verdict(one) == verdict for one in servers), f"they are {verdict}")


def expect_loads(running: Running, *expected: int) -> None:
    eventually(lambda: loads(running) == list(expected), f"the loads are {expected}")


def with_priorities(first: list[Origin], second: list[Origin], **settings: object) -> Plan:
    endpoints = [endpoint(one, priority=0) for one in first] + [endpoint(one, priority=1) for one in second]
    return proxy().pool(*endpoints, **settings)  # type: ignore[arg-type]


class TestPriorities:
    def test_fail_over_and_back(self) -> None:
        first, second = origin().start(), origin().start()
        running = with_priorities([first], [second], health=PROBES).start()
        expect_loads(running, 100, 0)
        eventually(lambda: served(running, 20) == {first.name: 20})
        first.now("health/down")
        expect_loads(running, 0, 100)
        eventually(lambda: served(running, 20) == {second.name: 20})
        first.now("health/up")
        expect_loads(running, 100, 0)
        eventually(lambda: served(running, 20) == {first.name: 20})

    def test_spill_what_the_first_cannot_carry(self) -> None:
        first, second = [origin().start() for _ in range(4)], [origin().start() for _ in range(2)]
        running = with_priorities(first, second, policy="random", health=PROBES).start()
        # Until all are known, those of whom nothing is known take no part, and the loads may be those of two.
        expect_verdicts(running, first + second, "healthy")
        expect_loads(running, 100, 0)
        for one in first[:2]:
            one.now("health/down")
        expect_verdicts(running, first[:2], "unhealthy")
        expect_loads(running, 70, 30)
        eventually(lambda: not {one.name for one in first[:2]} & served(running, 20).keys())
        counts = served(running, 400)
        assert 70 <= sum(counts[one.name] for one in second) <= 180, counts
        assert sum(counts[one.name] for one in first[:2]) == 0

    def test_lose_no_request_while_the_first_dies(self) -> None:
        first, second = origin().start(), origin().start()
        running = with_priorities([first], [second]).start()
        assert request(running).origin == first.name
        first.die()
        assert {request(running).status for _ in range(10)} == {200}

    def test_go_to_the_next_before_anyone_waits(self) -> None:
        busy, spare = origin().slow(3_000).start(), origin()
        running = with_priorities([busy], [spare], threshold={"requests": 1}).start()
        in_background(running)
        eventually(lambda: running.endpoint(busy)["in_flight"] == 1)
        assert request(running).origin == spare.name
        assert running.pool()["queued"] == 0


class TestZones:
    def test_the_own_one_comes_first(self) -> None:
        near, far = origin().start(), origin().start()
        running = (
            proxy().zone("a").pool(endpoint(far, zone="b"), endpoint(near, zone="a"), health=PROBES).start()
        )
        expect_loads(running, 100, 0)
        eventually(lambda: served(running, 20) == {near.name: 20})
        near.now("health/down")
        expect_loads(running, 0, 100)
        eventually(lambda: served(running, 20) == {far.name: 20})


class TestPanic:
    def test_uses_all_where_too_few_are_left(self) -> None:
        servers = [origin().start() for _ in range(3)]
        running = proxy().pool(*servers, policy="round_robin", health=PROBES, panic_threshold=50).start()
        expect_verdicts(running, servers, "healthy")
        servers[0].now("health/down")
        eventually(lambda: running.verdict(servers[0]) == "unhealthy")
        assert not running.pool()["panic"]
        servers[1].now("health/down")
        eventually(lambda: running.pool()["panic"], "two of three are down")
        eventually(lambda: served(running, 9) == {one.name: 3 for one in servers})

    def test_is_off_unless_asked_for(self) -> None:
        servers = [origin().start() for _ in range(3)]
        running = proxy().pool(*servers, policy="round_robin", health=PROBES).start()
        expect_verdicts(running, servers, "healthy")
        for one in servers[:2]:
            one.now("health/down")
        expect_verdicts(running, servers[:2], "unhealthy")
        eventually(lambda: served(running, 9) == {servers[2].name: 9})


class TestASubset:
    def test_is_all_that_an_instance_talks_to(self) -> None:
        servers = [origin() for _ in range(12)]
        subset = {"size": 4, "instance": 1, "instances": 3}
        running = proxy().pool(*servers, policy="round_robin", subset=subset).start()
        assert len(running.pool()["endpoints"]) == 4
        assert sorted(served(running, 8).values()) == [2, 2, 2, 2]
