"""The benchmarks' arithmetic: which ratio a bar is held against, what is said where one is missing."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from harness.fairness import Answer, Unfair, check, check_handshakes
from harness.measure import Length, Sample
from harness.micro import Timing
from harness.products.nginx import Nginx
from harness.report import markdown
from harness.results import PICK_NS_BARS, SCANS, Measured, Results, ratio_of
from harness.scenarios import HTTP1, SCENARIOS, TLS, TLS_FULL, TLS_RESUMED

LENGTH = Length(rounds=2, warmup_s=0.1, seconds=1.0)
AGREED = "TLSv1_3 TLS13_AES_128_GCM_SHA256 X25519 http/1.1"


def sample(total_us: float, *, disturbance: float = 0.0, load_core: float = 0.5) -> Sample:
    return Sample(
        units=1000,
        errors=0,
        per_second=1000.0,
        offered=1000.0,
        backlog=0,
        user_us=total_us / 4,
        system_us=total_us * 3 / 4,
        total_us=total_us,
        p50_us=100.0,
        p99_us=200.0,
        resident_kib=1024,
        core_share=1.0,
        disturbance=disturbance,
        load_core_share=load_core,
        generator_share=0.2,
    )


def measured(**rounds: list[Sample]) -> Measured:
    return Measured(scenario=TLS, rate=1000, fixed=dict(rounds), saturated=dict(rounds))


def test_a_bar_is_held_against_the_best_of_the_peers() -> None:
    (bar,) = measured(
        nginx=[sample(20), sample(20)], haproxy=[sample(10), sample(12)], steelyard=[sample(9), sample(9)]
    ).bars()
    assert bar.reached == pytest.approx((0.9 + 0.75) / 2)
    assert bar.shown.endswith("haproxy")
    assert bar.verdict == "met"


def test_a_peer_that_was_left_out_is_named() -> None:
    (bar,) = measured(nginx=[sample(10)], steelyard=[sample(10)]).bars()
    assert bar.shown.endswith("nginx; without haproxy")
    assert bar.verdict == "**missed** by 11.1%"


def test_without_steelyard_a_bar_is_not_measured() -> None:
    (bar,) = measured(nginx=[sample(10)], haproxy=[sample(10)]).bars()
    assert bar.verdict == "not measured"


def test_disturbed_rounds_do_not_count() -> None:
    ours = [sample(10), sample(99, disturbance=0.5)]
    ratio = ratio_of({"steelyard": ours, "nginx": [sample(20), sample(20)]}, "nginx")
    assert (ratio.median, ratio.rounds, ratio.left_out, ratio.is_sound) == (0.5, 1, 1, True)
    all_disturbed = [replace(one, disturbance=0.5) for one in ours]
    assert not ratio_of({"steelyard": all_disturbed, "nginx": ours}, "nginx").is_sound


def test_the_report_says_what_was_left_out_and_what_limited() -> None:
    results = Results(machine={}, left_out={"steelyard in tls": "not there yet"})
    results.measured = [measured(nginx=[sample(10, load_core=0.95)] * 2, haproxy=[sample(10)] * 2)]
    text = markdown(results, LENGTH)
    assert "steelyard in tls: not there yet" in text
    assert "At the fixed rate the load's core was nearly full with nginx" in text
    for scenario in SCENARIOS:
        assert f"| {scenario.title}: CPU per" in text, "every bar is told of, measured or not"


def test_what_tls_was_agreed_upon_is_checked() -> None:
    fields = dict.fromkeys(
        ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id"), "https"
    )
    good = {"with": [AGREED], "resumed": 0}
    check(Answer(fields=fields, tls=good), Nginx(), TLS_FULL)
    other = good | {"with": [AGREED.replace("128", "256")]}
    with pytest.raises(Unfair, match="agreed on"):
        check(Answer(fields=fields, tls=other), Nginx(), TLS)
    with pytest.raises(Unfair, match="resumed a session"):
        check(Answer(fields=fields, tls=good | {"resumed": 1}), Nginx(), TLS_FULL)
    with pytest.raises(Unfair, match="resumes none"):
        check(Answer(fields=fields, tls=good), Nginx(), TLS_RESUMED)
    with pytest.raises(Unfair, match="over"):
        check(Answer(fields=fields, tls=None), Nginx(), HTTP1)


def test_handshakes_are_what_they_should_be() -> None:
    check_handshakes({"full": 100, "resumed": 0, "tickets": 0}, TLS_FULL)
    check_handshakes({"full": 1, "resumed": 100, "tickets": 100}, TLS_RESUMED)
    for counts, scenario in (
        ({"full": 100, "resumed": 1, "tickets": 0}, TLS_FULL),
        ({"full": 100, "resumed": 0, "tickets": 1}, TLS_FULL),
        ({"full": 10, "resumed": 100, "tickets": 100}, TLS_RESUMED),
    ):
        with pytest.raises(Unfair):
            check_handshakes(counts, scenario)


def test_picks_that_compare_all_are_shown_apart_from_those_that_have_a_bar() -> None:
    medians = {
        "alone/p2c/10": 40.0,
        "alone/prequal/10": 60.0,
        "alone/rendezvous/10": 90.0,
        "alone/sticky/10": 95.0,
        "alone/sticky/100": 199.0,
        "alone/rendezvous/100": 900.0,
        # Of other sizes and beside others: no part of it.
        "alone/p2c/1000": 5_000.0,
        "contended/p2c/10": 5_000.0,
    }
    timings = [Timing(name=name, median_ns=ns, low_ns=ns, high_ns=ns) for name, ns in medians.items()]
    bars = {bar.what: bar for bar in Results(machine={}, timings=timings).bars() if "one pick of" in bar.what}
    shown = [(bar.limit, bar.reached, bar.verdict) for bar in bars.values() if "score" not in bar.what]
    assert shown == [
        (50.0, 60.0, "**missed** by 20.0%"),
        (None, 95.0, "shown, no bar"),
        (200.0, 199.0, "met"),
        (None, 900.0, "shown, no bar"),
    ]
    slowest = bars["one pick of 10 endpoints, slowest policy that draws or looks up"]
    assert slowest.shown == "60.0 ns (prequal, p2c 40.0)"


def test_every_policy_of_the_engine_is_held_against_one_of_the_two() -> None:
    from steelyard.config import POLICIES

    assert set(SCANS) == set(PICK_NS_BARS)
    assert all(set(scans) <= set(POLICIES) for scans in SCANS.values())
