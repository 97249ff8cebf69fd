"""Requests go where the policy says, exactly, over all workers; thresholds and the queue hold."""

import pytest

from language import (
    endpoint,
    eventually,
    in_background,
    load,
    origin,
    process_origin,
    proxy,
    request,
    steady_load,
)


@pytest.mark.parametrize("workers", [1, 4])
def test_round_robin_is_exact_over_all_workers(workers: int) -> None:
    origins = [origin().named(f"o{number}") for number in range(4)]
    running = proxy().workers(workers).pool(*origins, policy="round_robin").start()
    load(running, requests=1000, clients=20).expect_all(200, 1000)
    assert [one.requests for one in origins] == [250] * 4
    running.expect_nothing_left()


def test_weighted_is_exact_over_all_workers() -> None:
    a, b, c = (origin().named(name) for name in "abc")
    plan = (
        proxy()
        .workers(4)
        .pool(endpoint(a, weight=5), endpoint(b, weight=3), endpoint(c, weight=2), policy="weighted")
    )
    running = plan.start()
    load(running, requests=1000, clients=20).expect_all(200, 1000)
    assert [a.requests, b.requests, c.requests] == [500, 300, 200]


@pytest.mark.parametrize(("policy", "weights"), [("random", (1, 1, 1)), ("weighted_random", (1, 2, 3))])
def test_random_policies_keep_their_shares(policy: str, weights: tuple[int, ...]) -> None:
    origins = [origin().named(f"o{number}") for number in range(3)]
    members = [endpoint(one, weight=weight) for one, weight in zip(origins, weights, strict=True)]
    running = proxy().workers(2).pool(*members, policy=policy).start()
    count = 6000
    load(running, requests=count, clients=16).expect_all(200, count)
    expected = [count * weight / sum(weights) for weight in weights]
    chi_square = sum((one.requests - want) ** 2 / want for one, want in zip(origins, expected, strict=True))
    # Two degrees of freedom: beyond 27.6 once in a million runs.
    assert chi_square < 27.6, [one.requests for one in origins]


def test_least_request_leaves_a_busy_endpoint_alone() -> None:
    busy, free = origin().named("busy").slow(300), origin().named("free")
    running = proxy().pool(busy, free, policy="least_request").start()
    load(running, requests=400, clients=8).expect_all(200, 400)
    assert busy.requests < free.requests / 4


def test_five_hundred_clients_wait_for_five_slots_and_all_are_served() -> None:
    servers = [origin().named("a").slow(1)]
    running = proxy().workers(4).pool(*servers, threshold={"requests": 5}).start()
    load(running, requests=2000, clients=500).expect_all(200, 2000)
    assert servers[0].stats()["in_flight_max"] <= 5
    running.expect_nothing_left()


def test_a_request_that_waits_in_vain_is_told_to_come_back() -> None:
    server = origin().fault("hang")
    running = proxy().pool(server, threshold={"requests": 1}, queue={"size": 1, "timeout_ms": 100}).start()
    in_background(running)
    eventually(lambda: running.endpoint(server)["in_flight"] == 1)
    reply = request(running)
    assert reply.status == 503
    assert reply.get("retry-after") == "1"
    assert running.pool()["queue_timeouts"] == 1


def test_an_endpoint_out_for_its_latency_comes_back() -> None:
    slow, other = origin().named("slow").slow(400), origin().named("other")
    running = proxy().pool(slow, other, policy="round_robin", threshold={"latency_ms": 200}).start()
    for _ in range(4):
        assert request(running).status == 200
    assert running.endpoint(slow)["over_threshold"] == "latency"
    slow.now("delay/0ms")
    # It is tried once a second; the smoothed time falls with a time constant of ten.
    eventually(
        lambda: request(running).status and running.endpoint(slow)["over_threshold"] is None, within_s=60
    )


def test_one_of_three_origins_is_killed_and_no_request_fails() -> None:
    origins = [process_origin("--name", name) for name in "abc"]
    running = proxy().workers(2).pool(*origins, policy="round_robin").start()

    with steady_load(running, clients=16) as busy:
        eventually(lambda: busy.completed > 500)
        origins[1].kill()
        killed = busy.completed
        eventually(lambda: busy.completed > killed + 2000)
    assert set(busy.tally.statuses) == {200}, busy.tally.statuses
    assert not busy.tally.errors
    running.expect_nothing_left()
