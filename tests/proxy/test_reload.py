"""A new configuration is swapped in whole, and nobody notices who is not meant to."""

import pytest

from language import client, endpoint, eventually, origin, proxy, raw, request, steady_load
from steelyard import _core


def test_twenty_reloads_under_load_lose_no_request_even_when_one_is_broken() -> None:
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
            eventually(lambda before=before: busy.completed > before + 50)
    assert set(busy.tally.statuses) == {200}, busy.tally.statuses
    assert not busy.tally.errors
    assert running.status()["generation"] == 20
    running.expect_nothing_left()


def test_a_connection_stays_open_across_a_reload() -> None:
    a, b = origin().named("a"), origin().named("b")
    running = proxy().pool(a).start()
    one = client(running)
    assert one.get().origin == "a"
    running.apply(proxy().pool(b))
    assert one.get().origin == "b"
    assert running.listener()["accepted"] == 1


def test_counts_survive_a_reload() -> None:
    server = origin()
    running = proxy().pool(server).start()
    assert [request(running).status for _ in range(5)] == [200] * 5
    running.apply(proxy().pool(server))
    assert running.endpoint(server)["requests"] == 5
    assert running.endpoint(server)["smoothed_s"] is not None


def test_a_drained_endpoint_takes_no_new_request() -> None:
    a, b = origin().named("a"), origin().named("b")
    running = proxy().pool(a, b, policy="round_robin").start()
    running.apply(proxy().pool(endpoint(a, drain=True), b, policy="round_robin"))
    assert running.verdict(a) == "draining"
    assert {request(running).origin for _ in range(10)} == {"b"}
    running.apply(proxy().pool(a, b, policy="round_robin"))
    assert {request(running).origin for _ in range(10)} == {"a", "b"}


def test_a_drain_ends_a_connection_that_never_sent_a_byte() -> None:
    running = proxy().pool(origin()).start()
    silent = raw(running)
    eventually(lambda: running.listener()["connections"] == 1)
    running.stop()
    silent.expect_closed()
    running.expect_stopped()
