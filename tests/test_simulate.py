"""The simulator as Python calls it: a document in, a report out."""

import json
import signal
import threading
import time
from typing import Any

import pytest

from steelyard import _core


def document(**changes: Any) -> dict[str, Any]:
    """Five endpoints at half load under two policies."""
    endpoint = {"speed": 1.0, "concurrency": 1, "weight": 1, "waiting_room": None}
    pool = {
        "fail_open": True,
        "threshold": {"requests": None, "latency_ms": None, "bytes_per_second": None},
        "queue": {"size": 1024, "timeout_ms": 5000},
        "health": {
            "path": None,
            "host": None,
            "interval_ms": 5000,
            "timeout_ms": 2000,
            "rise": 2,
            "fall": 3,
            "expect_status": [[200, 399]],
        },
        "connections": {"idle_timeout_ms": 4000, "idle_max": 64, "max": None},
        "timeouts": {
            "connect_ms": 2000,
            "response_ms": 30000,
            "idle_ms": 60000,
            "tunnel_ms": None,
            "total_ms": None,
        },
        "retry": {
            "attempts": 2,
            "on": ["connect", "reset-before-response"],
            "body_bytes_max": 65536,
            "budget": 0.2,
        },
    }
    policies = ["random", "least_request"]
    return {
        "seed": 7,
        "requests": 20_000,
        "duration_s": None,
        "warmup": 0.1,
        "replications": 4,
        "balancers": 1,
        "information_delay_s": 0.0,
        "series_buckets": 20,
        "policies": [{"label": name, "policy": {"name": name}} for name in policies],
        "endpoints": [{"name": f"e-{index}", **endpoint} for index in range(5)],
        "arrivals": {"kind": "poisson", "rate": 2.5},
        "service": {"kind": "exponential", "mean_s": 1.0},
        "pool": pool,
        "faults": [],
        **changes,
    }


def simulate(scenario: dict[str, Any]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(_core.simulate(json.dumps(scenario)))
    return report


def test_a_report_compares_the_policies() -> None:
    report = simulate(document())
    assert list(report) == ["seed", "events_per_second", "warnings", "policies", "differences"]
    random, least = report["policies"]
    assert (random["name"], least["name"]) == ("random", "least_request")
    # Nine tenths of 20,000 in each of four replications.
    assert random["requests"] == 72_000
    assert least["mean_s"] < random["mean_s"]
    low, high = random["mean_ci_s"]
    assert low < 2.0 < high
    assert len(random["share"]) == len(random["utilisation_by_endpoint"]) == 5
    assert sum(random["share"]) == pytest.approx(1.0)
    assert len(random["series"]["t_s"]) == len(random["series"]["in_flight"]) == 20
    times, shares = zip(*random["distribution"], strict=True)
    assert list(times) == sorted(times)
    assert list(shares) == sorted(shares)
    (difference,) = report["differences"]
    assert (difference["a"], difference["b"], difference["significant"]) == ("random", "least_request", True)


def test_the_same_seed_gives_the_same_report() -> None:
    first, second = simulate(document()), simulate(document())
    del first["events_per_second"], second["events_per_second"]
    assert first == second


def test_progress_is_told_from_the_first_to_the_last_run() -> None:
    told: list[tuple[int, int]] = []
    _core.simulate(json.dumps(document()), lambda done, total: told.append((done, total)))
    assert told[-1] == (8, 8)
    assert told == sorted(set(told))


def test_what_progress_raises_ends_the_simulation() -> None:
    def refuse(done: int, total: int) -> None:
        raise LookupError(f"{done} of {total}")

    with pytest.raises(LookupError, match="of 8"):
        _core.simulate(json.dumps(document()), refuse)


# Each arrival takes a thousand draws, so that even counting them out beforehand would take hours.
SPARSE = {"kind": "profile", "points": [[0.0, 2500.0], [1.0, 2500.0], [1.001, 2.5]]}


@pytest.mark.parametrize("arrivals", [{"kind": "poisson", "rate": 2.5}, SPARSE])
def test_an_interrupt_ends_it_though_it_would_take_minutes(arrivals: dict[str, Any]) -> None:
    scenario = document(requests=1_000_000_000, arrivals=arrivals)
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _core.simulate(json.dumps(scenario))
    assert time.monotonic() - begin < 30


def test_problems_are_told_with_their_place() -> None:
    scenario = document(arrivals={"kind": "poisson", "rate": 5.0})
    problems = json.loads(_core.check_scenario(json.dumps(scenario)))
    assert [problem["path"] for problem in problems] == [["arrivals", "rate"]]
    with pytest.raises(_core.DocumentError) as refused:
        _core.simulate(json.dumps(scenario))
    assert json.loads(refused.value.args[0]) == problems
    assert json.loads(_core.check_scenario(json.dumps(document()))) == []
