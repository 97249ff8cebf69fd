"""How endpoints are chosen: counts are exact, or within a chi-square bound, over several workers too."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest

from language import (
    Origin,
    Running,
    client,
    endpoint,
    eventually,
    in_background,
    load,
    origin,
    proxy,
    request,
)

# The 1 - 1e-6 quantiles of chi-square by degrees of freedom: a right policy fails once in a million runs.
CHI_SQUARE = {2: 27.63, 3: 30.66, 4: 33.38}


def origins(count: int) -> list[Origin]:
    return [origin().named(str(number)) for number in range(count)]


def served(running: Running, count: int) -> list[str]:
    """Who served each of so many requests in a row, over connections that spread over the workers."""
    clients = [client(running) for _ in range(min(count, 16))]
    return [clients[number % len(clients)].get().origin or "" for number in range(count)]


def expect_distribution(counts: Counter[str], shares: Sequence[float]) -> None:
    total = counts.total()
    whole = sum(shares)
    expected = [total * share / whole for share in shares]
    distance = sum((counts[str(n)] - wanted) ** 2 / wanted for n, wanted in enumerate(expected))
    assert distance < CHI_SQUARE[len(shares) - 1], f"{counts} is not {shares}: {distance:.1f}"


class TestRoundRobin:
    @pytest.mark.parametrize("workers", [1, 4])
    def test_goes_to_each_in_turn(self, workers: int) -> None:
        running = proxy().workers(workers).pool(*origins(5), policy="round_robin").start()
        assert served(running, 100) == [str(number % 5) for number in range(100)]

    def test_is_exact_under_load(self) -> None:
        running = proxy().workers(4).pool(*origins(5), policy="round_robin").start()
        tally = load(running, requests=2000, clients=40).expect_all(200, 2000)
        assert tally.origins == {str(number): 400 for number in range(5)}
        running.expect_nothing_left()

    def test_heeds_weights(self) -> None:
        servers = origins(3)
        weighted = [endpoint(one, weight=weight) for one, weight in zip(servers, (5, 1, 1), strict=True)]
        running = proxy().pool(*weighted, policy="round_robin").start()
        assert "".join(served(running, 14)) == "0010200" * 2

    def test_does_not_repay_one_that_joins(self) -> None:
        servers = origins(3)
        running = proxy().pool(*servers[:2], policy="round_robin").start()
        served(running, 100)
        running.apply(proxy().pool(*servers, policy="round_robin"))
        assert Counter(served(running, 30)) == {"0": 10, "1": 10, "2": 10}


class TestWeighted:
    @pytest.mark.parametrize(
        ("weights", "cycle"), [((5, 1, 1), "0010200"), ((4, 2, 1), "0102010"), ((5, 3, 2), "0120010210")]
    )
    def test_is_smooth(self, weights: Sequence[int], cycle: str) -> None:
        weighted = [endpoint(one, weight=w) for one, w in zip(origins(3), weights, strict=True)]
        running = proxy().pool(*weighted, policy="weighted").start()
        assert "".join(served(running, 3 * len(cycle))) == cycle * 3

    def test_is_exact_over_several_workers(self) -> None:
        weighted = [endpoint(one, weight=w) for one, w in zip(origins(3), (5, 3, 2), strict=True)]
        running = proxy().workers(4).pool(*weighted, policy="weighted").start()
        tally = load(running, requests=1000, clients=40).expect_all(200, 1000)
        assert tally.origins == {"0": 500, "1": 300, "2": 200}

    def test_is_in_turn_where_weights_are_equal(self) -> None:
        running = proxy().pool(*origins(3), policy="weighted").start()
        assert "".join(served(running, 9)) == "012" * 3


class TestRandom:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_is_uniform(self, workers: int) -> None:
        running = proxy().workers(workers).pool(*origins(5), policy="random").start()
        tally = load(running, requests=5000, clients=20).expect_all(200, 5000)
        expect_distribution(tally.origins, [1, 1, 1, 1, 1])

    def test_is_no_rotation(self) -> None:
        running = proxy().pool(*origins(3), policy="random").start()
        row = served(running, 60)
        assert any(a == b for a, b in itertools.pairwise(row))

    def test_heeds_weights_where_it_is_weighted(self) -> None:
        weighted = [endpoint(one, weight=w) for one, w in zip(origins(4), (1, 2, 3, 4), strict=True)]
        running = proxy().workers(2).pool(*weighted, policy="weighted_random").start()
        tally = load(running, requests=5000, clients=20).expect_all(200, 5000)
        expect_distribution(tally.origins, [1, 2, 3, 4])


class TestLeastRequest:
    def test_is_the_default_and_avoids_a_busy_endpoint(self) -> None:
        busy, idle = origins(2)
        running = proxy().pool(busy, idle).start()
        waiting = in_background(running, "/hang")
        eventually(lambda: running.in_flight() == 1)
        holder = "0" if running.endpoint(busy)["in_flight"] else "1"
        assert set(served(running, 30)) == {"1" if holder == "0" else "0"}
        assert not waiting.is_over
        busy.now("fault/off").die()
        idle.die()

    def test_spreads_over_those_that_are_equal(self) -> None:
        running = proxy().pool(*origins(3), policy="least_request").start()
        expect_distribution(Counter(served(running, 600)), [1, 1, 1])

    def test_fills_the_idle_ones_first(self) -> None:
        servers = origins(4)
        running = proxy().workers(4).pool(*servers, policy="least_request").start()
        waiting = [in_background(running, "/hang") for _ in range(4)]
        eventually(lambda: running.in_flight() == 4)
        # The picks of several workers may meet, but in flight is shared: at most one meets another here.
        assert sorted(running.endpoint(one)["in_flight"] for one in servers) in ([1, 1, 1, 1], [0, 1, 1, 2])
        for one in servers:
            one.die()
        assert [one.reply().status for one in waiting] == [502] * 4

    def test_heeds_weights(self) -> None:
        heavy, light = origins(2)
        running = proxy().pool(endpoint(heavy, weight=3), light, policy="least_request").start()
        waiting = []
        for number in range(8):
            waiting.append(in_background(running, "/hang"))
            eventually(lambda count=number: running.in_flight() == count + 1)  # type: ignore[misc]
        assert (running.endpoint(heavy)["in_flight"], running.endpoint(light)["in_flight"]) == (6, 2)
        heavy.die()
        light.die()
        assert {one.reply().status for one in waiting} == {502}

    def test_is_not_drawn_to_one_that_fails_fast(self) -> None:
        slow = [origin().named(str(number)).slow(5) for number in range(4)]
        failing = origin().named("bad").status(503)
        running = proxy().pool(*slow, failing, policy="least_request").start()
        tally = load(running, requests=1000, clients=20)
        assert tally.origins["bad"] < 200, tally.origins


class TestJoinIdleQueue:
    def test_gives_each_its_own_while_one_is_idle(self) -> None:
        servers = origins(4)
        running = proxy().workers(4).pool(*servers, policy="join_idle_queue").start()
        waiting = [in_background(running, "/hang") for _ in range(4)]
        eventually(lambda: running.in_flight() == 4)
        assert [running.endpoint(one)["in_flight"] for one in servers] == [1, 1, 1, 1]
        for one in servers:
            one.die()
        assert [one.reply().status for one in waiting] == [502] * 4

    def test_takes_turns_where_one_request_follows_another(self) -> None:
        running = proxy().pool(*origins(3), policy="join_idle_queue").start()
        row = served(running, 30)
        assert row == row[:3] * 10
        assert sorted(row[:3]) == ["0", "1", "2"]

    def test_soon_uses_one_that_joins(self) -> None:
        servers = origins(3)
        running = proxy().pool(*servers[:2], policy="join_idle_queue").start()
        served(running, 10)
        running.apply(proxy().pool(*servers, policy="join_idle_queue"))
        assert Counter(served(running, 30)) == {"0": 10, "1": 10, "2": 10}


POLICIES = ["round_robin", "random", "weighted", "weighted_random", "least_request", "join_idle_queue"]


@pytest.mark.parametrize("policy", POLICIES)
class TestEveryPolicy:
    def test_leaves_out_what_takes_nothing(self, policy: str) -> None:
        servers = origins(3)
        running = (
            proxy()
            .pool(servers[0], endpoint(servers[1], weight=0), endpoint(servers[2], drain=True), policy=policy)
            .start()
        )
        assert set(served(running, 20)) == {"0"}

    def test_gives_503_where_nothing_takes_anything(self, policy: str) -> None:
        server = origin()
        running = proxy().pool(endpoint(server, drain=True), policy=policy, queue={"timeout_ms": 50}).start()
        assert request(running).status == 503

    def test_can_be_changed_while_it_runs(self, policy: str) -> None:
        servers = origins(3)
        running = proxy().pool(*servers, policy=policy).start()
        load(running, requests=30, clients=3).expect_all(200, 30)
        running.apply(proxy().pool(*servers, policy="round_robin"))
        assert running.pool()["policy"] == "round_robin"
        row = "".join(served(running, 9))
        assert row in "012" * 4

    def test_counts_in_flight_exactly(self, policy: str) -> None:
        servers = [origin().named(str(number)).slow(3) for number in range(3)]
        running = proxy().workers(4).pool(*servers, policy=policy, threshold={"requests": 3}).start()
        load(running, requests=1000, clients=30).expect_all(200, 1000)
        running.expect_nothing_left()
        assert sum(running.endpoint(one)["requests"] for one in servers) == 1000
        for one in servers:
            assert one.stats()["in_flight_max"] <= 3
            assert one.requests == running.endpoint(one)["requests"]
