"""The document that crosses to the simulator."""

from pathlib import Path
from typing import Any

import pytest

from steelyard.config import document as document_of
from steelyard.config import load_text
from steelyard.config.source import read_text
from steelyard.sim.document import prepare
from steelyard.sim.load import checked

SMALL = """\
policies = ["random", { name = "least_request" }]
arrivals = { kind = "poisson", rate = 2.0 }
service = { kind = "exponential", mean = "200us" }
"""
ENDPOINTS = """\
[[endpoints]]
count = 2
waiting_room = 0
[[endpoints]]
name = "slow"
speed = 0.5
concurrency = 4
weight = 3
[[endpoints]]
name = "new"
count = 2
"""


def document(text: str) -> dict[str, Any]:
    source = read_text(text, "s.toml")
    return prepare(checked(source), source, Path()).document


def test_defaults_are_filled_in() -> None:
    found = document(SMALL + ENDPOINTS)
    assert {key: found[key] for key in ("seed", "requests", "duration_s", "warmup", "replications")} == {
        "seed": 1, "requests": 400_000, "duration_s": None, "warmup": 0.1, "replications": 8,
    }  # fmt: skip
    assert {key: found[key] for key in ("balancers", "information_delay_s", "series_buckets")} == {
        "balancers": 1, "information_delay_s": 0.0, "series_buckets": 200,
    }  # fmt: skip
    assert (found["keys"], found["key_skew"], found["faults"]) == (10_000, 0.0, [])


def test_a_cache_is_told_as_it_is_written() -> None:
    assert document(SMALL + ENDPOINTS)["cache"] is None
    found = document(SMALL + ENDPOINTS + "\n[cache]\nentries = 2_000\nhit_factor = 0.1")
    assert found["cache"] == {"entries": 2_000, "hit_factor": 0.1}


def test_slow_start_is_that_of_a_pool() -> None:
    assert document(SMALL + ENDPOINTS)["pool"]["slow_start"] is None
    found = document('slow_start = "5s"\n' + SMALL + ENDPOINTS)["pool"]["slow_start"]
    assert found == {"window_ms": 5_000, "aggression": 1.0, "min_weight": 0.1}


@pytest.mark.parametrize(
    ("top", "of_the_last", "panics"),
    [
        ("", "", False),
        ("", "priority = 1\n", True),
        ("", 'zone = "b"\n', False),
        ('zone = "b"\n', 'zone = "b"\n', True),
    ],
)
def test_levels_are_those_of_a_pool(top: str, of_the_last: str, panics: bool) -> None:
    found = document(top + SMALL + ENDPOINTS + of_the_last)
    assert found["zone"] == ("b" if top else None)
    assert found["pool"]["panic_threshold"] == (50 if panics else None)


@pytest.mark.parametrize(("written", "percent"), [("30", 30), ('"off"', None), ('"auto"', 50)])
def test_panic_is_that_of_a_pool(written: str, percent: int | None) -> None:
    found = document(f"panic_threshold = {written}\n" + SMALL + ENDPOINTS + "priority = 1\n")
    assert found["pool"]["panic_threshold"] == percent


def test_ejection_can_be_left_out() -> None:
    assert document(SMALL + ENDPOINTS)["ejection"] is True
    assert document("ejection = false\n" + SMALL + ENDPOINTS)["ejection"] is False


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{ size = 2 }", {"size": 2, "instance": 0, "instances": 3}),
        ("{ size = 2, instance = 4 }", {"size": 2, "instance": 4, "instances": 7}),
        ("{ size = 2, instance = 4, instances = 9 }", {"size": 2, "instance": 4, "instances": 9}),
    ],
)
def test_each_balancer_is_an_instance_of_its_own(written: str, expected: dict[str, int]) -> None:
    assert document(SMALL + ENDPOINTS)["pool"]["subset"] is None
    assert document(f"subset = {written}\nbalancers = 3\n" + SMALL + ENDPOINTS)["pool"]["subset"] == expected


def test_groups_become_endpoints_with_names_of_their_own() -> None:
    found = document(SMALL + ENDPOINTS)["endpoints"]
    assert [one["name"] for one in found] == ["endpoint-0", "endpoint-1", "slow", "new-3", "new-4"]
    assert found[0] == {
        "name": "endpoint-0", "speed": 1.0, "concurrency": 1, "weight": 1, "waiting_room": 0, "zone": "",
        "priority": 0,
    }  # fmt: skip
    assert (found[2]["speed"], found[2]["concurrency"], found[2]["weight"]) == (0.5, 4, 3)
    assert found[2]["waiting_room"] is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [("4", [4]), ('"slow"', [2]), ('"new"', [3, 4]), ('["new-4", 0, "new"]', [4, 0, 3])],
)
def test_faults_name_endpoints_by_number_by_name_or_by_group(written: str, expected: list[int]) -> None:
    fault = f'[[faults]]\nat = "1m"\nuntil = "1h"\nendpoint = {written}\nkind = "stop"\n'
    found = document(SMALL + ENDPOINTS + fault)["faults"]
    assert [one["endpoint"] for one in found] == expected
    assert found[0] | {"endpoint": 0} == {
        "at_s": 60.0, "endpoint": 0, "kind": "stop", "factor": None, "until_s": 3600.0,
    }  # fmt: skip


def test_policies_are_labelled_and_written_as_a_pool_writes_them() -> None:
    found = document(SMALL + ENDPOINTS)["policies"]
    assert [one["label"] for one in found] == ["random", "least_request"]
    own = document_of(load_text('listen = ":80"\nendpoints = ["127.0.0.1:1"]\npolicy = "random"\n'))
    assert found[0]["policy"] == own["pools"][0]["policy"]


def test_one_policy_with_two_settings_is_labelled_with_them() -> None:
    written = '["random", { name = "peak_ewma", decay = "1s" }, { name = "peak_ewma", decay = "5s" }]'
    found = document(SMALL.replace('["random", { name = "least_request" }]', written) + ENDPOINTS)["policies"]
    assert [one["label"] for one in found] == ["random", "peak_ewma decay=1s", "peak_ewma decay=5s"]
    assert [one["policy"]["decay_ms"] for one in found[1:]] == [1000, 5000]


def test_tables_of_the_pool_are_those_of_a_configuration() -> None:
    pool = document(SMALL + ENDPOINTS + "[threshold]\nrequests = 1\n[health]\nfall = 7\n")["pool"]
    assert "endpoints" not in pool
    assert "policy" not in pool
    assert "name" not in pool
    assert pool["threshold"]["requests"] == 1
    assert (pool["health"]["fall"], pool["health"]["rise"]) == (7, 2)
    assert pool["queue"] == {"size": 1024, "timeout_ms": 5000}
    assert pool["retry"]["attempts"] == 2


def test_nothing_times_out_unless_it_is_wanted() -> None:
    assert set(document(SMALL + ENDPOINTS)["pool"]["timeouts"].values()) == {None}
    timeouts = document(SMALL + ENDPOINTS + "[timeouts]\nresponse = '1s'\n")["pool"]["timeouts"]
    assert (timeouts["response_ms"], timeouts["connect_ms"]) == (1000, 2000)


ARRIVALS = [
    ('{ kind = "deterministic", rate = 3 }', {"kind": "deterministic", "rate": 3.0}),
    (
        '{ kind = "on_off", rate_on = 9.0, on = "1s", off = "500ms" }',
        {"kind": "on_off", "rate_on": 9.0, "rate_off": 0.0, "on_s": 1.0, "off_s": 0.5},
    ),
    (
        '{ kind = "profile", points = [["0s", 1.0], ["1m", 2]] }',
        {"kind": "profile", "points": [[0.0, 1.0], [60.0, 2.0]]},
    ),
]
SERVICES = [
    ('{ kind = "constant", mean = "5ms" }', {"kind": "constant", "mean_s": 0.005}),
    ('{ kind = "lognormal", mean = "5ms", c2 = 2 }', {"kind": "lognormal", "mean_s": 0.005, "c2": 2.0}),
    (
        '{ kind = "hyperexponential", mean = "5ms", c2 = 9.0 }',
        {"kind": "hyperexponential", "mean_s": 0.005, "c2": 9.0},
    ),
    (
        '{ kind = "pareto", mean = "5ms", alpha = 1.5, bound = "2s" }',
        {"kind": "pareto", "mean_s": 0.005, "alpha": 1.5, "bound_s": 2.0},
    ),
]


@pytest.mark.parametrize(("written", "expected"), ARRIVALS)
def test_arrivals(written: str, expected: dict[str, Any]) -> None:
    assert (
        document(SMALL.replace('{ kind = "poisson", rate = 2.0 }', written) + ENDPOINTS)["arrivals"]
        == expected
    )


@pytest.mark.parametrize(("written", "expected"), SERVICES)
def test_services(written: str, expected: dict[str, Any]) -> None:
    text = SMALL.replace('{ kind = "exponential", mean = "200us" }', written)
    assert document(text + ENDPOINTS)["service"] == expected
