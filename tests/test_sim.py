"""Runs of the simulator: what Python gives and takes, what the command prints, and how it ends."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from language.scenarios import SMALL, policy, result_of, small_scenario
from steelyard import sim
from steelyard.cli import simulate as command
from steelyard.errors import ConfigError, UsageError
from test_cli import steelyard


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_scenario(tmp_path)


def without_speed(result: sim.Result) -> sim.Result:
    return result.model_copy(update={"events_per_second": 0.0})


def test_a_result_says_what_it_is_about(small: Path) -> None:
    result = sim.simulate(small)
    assert result.seed == 7
    assert [one.name for one in result.policies] == ["random", "least_request"]
    assert result.endpoints == ("endpoint-0", "endpoint-1", "endpoint-2", "slow")
    assert [(one.a, one.b) for one in result.differences] == [("random", "least_request")]
    assert [(one.endpoint, one.kind) for one in result.faults] == [(3, "slow")]
    for one in result.policies:
        assert one.requests == 3 * 1_800
        assert sum(one.share) == pytest.approx(1.0)
        assert len(one.utilisation_by_endpoint) == 4
        assert one.mean_s is not None
        assert one.mean_ci_s is not None
        assert (one.p50_s or 0.0) < (one.p99_s or 0.0)
        assert one.mean_ci_s[0] <= one.mean_s <= one.mean_ci_s[1]
        assert one.series is not None
        assert len(one.series.t_s) == len(one.series.in_flight) == 20
        assert {len(loads) for loads in one.series.in_flight} == {4}


def test_a_result_and_its_parts_are_frozen(small: Path) -> None:
    result = sim.simulate(small)
    parts = {
        sim.PolicyResult: result.policies[0],
        sim.Difference: result.differences[0],
        sim.Series: result.policies[0].series,
        sim.Ranking: result.ranking(),
        sim.Happening: result.faults[0],
    }
    for kind, part in parts.items():
        assert isinstance(part, kind)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, next(iter(kind.model_fields)), None)


def test_who_looks_at_loads_is_faster_and_that_is_significant(small: Path) -> None:
    result = sim.simulate(small)
    (difference,) = result.differences
    assert difference.mean_s > 0
    assert difference.significant
    ranking = result.ranking("mean")
    assert ranking is not None
    assert (ranking.best, ranking.level) == ("least_request", ())


def test_one_seed_gives_one_result_and_another_another(small: Path) -> None:
    first = without_speed(sim.simulate(small))
    assert without_speed(sim.simulate(small, seed=7)) == first
    assert without_speed(sim.simulate(sim.load(small))) == first
    assert without_speed(sim.simulate(small, seed=8)).policies != first.policies


LEVELS = """\
requests = 4_000
policies = ["random"]
arrivals = { kind = "poisson", rate = 0.2 }
service = { kind = "exponential", mean = "1s" }
endpoints = [{ count = 4 }, { priority = 1 }]
timeouts = { response = "20s" }
[[faults]]
at = "0s"
endpoint = [0, 1, 2, 4]
kind = "stop"
"""


@pytest.mark.parametrize(("threshold", "panics"), [(50, True), (20, False), ('"off"', False)])
def test_a_level_panics_below_its_threshold(threshold: object, panics: bool) -> None:
    result = sim.simulate(sim.load_text(f"panic_threshold = {threshold}\n{LEVELS}"))
    assert (result.policies[0].retries > 0) is panics, "it uses those that are stopped as well"


def test_each_balancer_talks_to_its_part(small: Path) -> None:
    small.write_text(f"subset = {{ size = 1 }}\nbalancers = 2\n{SMALL}")
    result = sim.simulate(small)
    assert sum(share > 0 for share in result.policies[0].share) <= 2
    assert any("subset of no balancer" in warning for warning in result.warnings)


def test_balancers_beyond_the_last_instance_are_refused(small: Path) -> None:
    small.write_text(f"subset = {{ size = 1, instance = 3, instances = 4 }}\nbalancers = 2\n{SMALL}")
    told = (
        r"toml:1:36: subset.instances: the balancers are instances 3 to 4\nhint: of 4 there are none beyond 3"
    )
    with pytest.raises(ConfigError, match=told):
        sim.simulate(small)


def test_other_policies_can_be_compared_than_those_of_the_scenario(small: Path) -> None:
    result = sim.simulate(small, policies=["round_robin", "random", "random"])
    assert [one.name for one in result.policies] == ["round_robin", "random"]
    with pytest.raises(UsageError) as caught:
        sim.simulate(small, policies=["lest_request"])
    assert str(caught.value) == 'unknown policy "lest_request"\nhint: did you mean "least_request"?'
    for wrong in ([], [{"name": "ring_hash", "key": "path"}]):
        with pytest.raises(UsageError, match="expected the names of policies"):
            sim.simulate(small, policies=wrong)  # type: ignore[arg-type]


def test_a_policy_written_in_python_decides_as_its_twin_does(small: Path) -> None:
    score = "def score(endpoint):\n    return (endpoint.in_flight + 1.0) / endpoint.weight\n"
    (small.parent / "mine.py").write_text(score, encoding="utf-8")
    healthy = SMALL.partition("[[faults]]")[0]
    small.write_text(healthy.replace('"random"', '"mine:score"'), encoding="utf-8")
    result = sim.simulate(small)
    assert result.policy("mine:score").mean_s == result.policy("least_request").mean_s
    assert sim.simulate(small, policies=["mine:score"]).policies[0] == result.policy("mine:score")
    with pytest.raises(UsageError, match='the module mine has no function "scor"'):
        sim.simulate(small, policies=["mine:scor"])


def test_progress_is_told_and_can_end_the_run(small: Path) -> None:
    told: list[float] = []
    sim.simulate(small, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim.simulate(small, progress=stop)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([policy("a", 1.0), policy("b", 2.0)], "a is best on p99 here"),
        ([policy("a", 2.0), policy("b", 1.9)], "b is best on p99 here; a is within its uncertainty"),
        (
            [policy("a", 1.0), policy("b", 1.1), policy("c", 1.15), policy("d", 9.0)],
            "a is best on p99 here; b and c are within its uncertainty",
        ),
        (
            [policy("a", 2.0), policy("b", 0.1, errors=20)],
            "a is best on p99 here; b fails more requests (2.00%) and so cannot be compared on time",
        ),
        ([policy("a", 2.0), policy("b", 2.0)], "a and b are equally good on p99 here"),
        ([policy("a", 1.0)], "a is the only policy; name others to compare it with"),
        ([policy("a", 1.0) | {"p99_s": None}], "no request was answered under any policy"),
    ],
)
def test_the_answer_is_one_line(policies: list[dict[str, Any]], expected: str) -> None:
    assert command.answer(result_of(*policies)) == expected


@pytest.mark.parametrize(
    ("mean_s", "interval", "significant", "expected"),
    [
        (-0.5, (-0.6, -0.4), True, "a is faster than b by 500 ms in the mean (95 % sure: 400 to 600 ms)."),
        (0.002, (0.001, 0.003), True, "b is faster than a by 2 ms in the mean (95 % sure: 1 to 3 ms)."),
        (0.0, (0.0, 0.0), False, "a and b come out the same to the last digit."),
        (0.001, (-0.001, 0.003), False, "Between a and b there is no significant difference in the mean "
                                        "(95 % sure: -1 to 3 ms)."),
        (0.002, (0.001, 0.003), False, "Between a and b there is no significant difference in the mean, with "
                                       "so many compared; by itself it would be one (95 % sure: 1 to 3 ms)."),
    ],
)  # fmt: skip
def test_each_difference_is_a_sentence(
    mean_s: float, interval: tuple[float, float], significant: bool, expected: str
) -> None:
    difference = {"a": "a", "b": "b", "mean_s": mean_s, "ci_s": interval, "significant": significant}
    assert command.differences(result_of(policy("a", 1.0), differences=(difference,))) == [expected]


def test_of_many_policies_only_the_pairs_with_the_best_are_told() -> None:
    pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    told = command.differences(
        result_of(
            *(policy(name, p99) for name, p99 in zip("abcd", (3.0, 1.0, 2.0, 4.0), strict=True)),
            differences=tuple(
                {"a": a, "b": b, "mean_s": 0.5, "ci_s": (0.4, 0.6), "significant": True} for a, b in pairs
            ),
        )
    )
    assert [line.split(" in the mean")[0] for line in told] == [
        "b is faster than a by 500 ms",
        "c is faster than b by 500 ms",
        "d is faster than b by 500 ms",
        "The other 3 pairs are in --json.",
    ]


def test_the_command_prints_a_plain_table_and_the_answer(small: Path) -> None:
    done = steelyard("simulate", small.name, cwd=small.parent)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("small.toml: 4 endpoints, 5400 requests for each policy, seed 7, ")
    assert lines[2].split() == [
        "policy", "mean", "(95", "%", "sure)", "p50", "p90", "p99", "p99.9",
        "utilisation", "errors", "retries", "queue", "wait",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[3:5]] == ["random", "least_request"]
    assert lines[-2].startswith("least_request is faster than random by ")
    assert lines[-1] == "least_request is best on p99 here"
    assert "\x1b" not in done.stdout


def test_on_a_narrow_terminal_nothing_is_cut() -> None:
    result = result_of(policy("least_request", 0.0123, 0.0001, errors=12), policy("random", 0.5))
    for width, tables in ((80, 2), (200, 1)):
        out = Console(width=width, file=StringIO(), force_terminal=True)
        found = list(command.policy_tables(result, out))
        assert len(found) == tables
        assert all(command.width_of(table, out) <= width for table in found)


def test_the_command_shows_endpoints_when_asked(small: Path) -> None:
    done = steelyard("simulate", small.name, "--endpoints", cwd=small.parent)
    assert "share (utilisation)" in done.stdout
    assert "\nslow " in done.stdout


def test_names_of_a_scenario_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    # Words in brackets would be markup to the library for tables.
    names = ("[red]a\x1b[31m", "[red]b\x9b2J")
    result = result_of(
        *(
            policy(name, 1.0 + n) | {"share": (1.0,), "utilisation_by_endpoint": (0.5,)}
            for n, name in enumerate(names)
        ),
        differences=({"a": names[0], "b": names[1], "mean_s": 0.5, "ci_s": (0.4, 0.6), "significant": True},),
    )
    command.show(result.model_copy(update={"endpoints": names[:1]}), names[0], endpoints=True)
    shown = capsys.readouterr().out
    assert all(one == "\n" or one.isprintable() for one in shown)
    # In the headline, both tables, as the name of an endpoint, in the sentence and in the answer.
    assert shown.count("[red]a\\x1b[31m") == 6
    assert shown.count("[red]b\\x9b2J") == 3


def test_which_format_a_trace_was_read_in_is_told(small: Path) -> None:
    (small.parent / "access.log").write_text(
        "".join(f'{{"time": {n / 10}, "duration": 0.1}}\n' for n in range(100)), encoding="utf-8"
    )
    trace = '{ kind = "trace", file = "access.log" }'
    text = SMALL.partition("[[faults]]")[0].replace('{ kind = "poisson", rate = 1.5 }', trace)
    small.write_text(text.replace("requests = 2_000", "requests = 100"), encoding="utf-8")
    done = steelyard("simulate", small.name, cwd=small.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == ("trace access.log: 100 lines read as JSON lines (told by line 1)")
    small.write_text(text.replace('.log"', '.log", format = "json"'), encoding="utf-8")
    done = steelyard("simulate", small.name, cwd=small.parent)
    assert done.stderr.splitlines()[0] == (
        "trace access.log: 100 lines read as JSON lines (as the scenario says)"
    )


def test_json_has_the_names_of_the_manual(small: Path) -> None:
    done = steelyard("simulate", small.name, "--json", "--seed", "9", "--policy", "random", cwd=small.parent)
    found = json.loads(done.stdout)
    assert (done.returncode, found["seed"], found["events_per_second"] > 0) == (0, 9, True)
    (one,) = found["policies"]
    assert {
        "name", "requests", "mean_s", "mean_ci_s", "p50_s", "p90_s", "p99_s", "p999_s",
        "utilisation", "errors", "retries", "queue_wait_mean_s", "share",
    } <= set(one)  # fmt: skip
    assert "series" not in one
    longer = json.loads(steelyard("simulate", small.name, "--json", "--series", cwd=small.parent).stdout)
    assert {"series", "distribution"} <= set(longer["policies"][0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.toml"], "nowhere.toml: there is no such file\nhint: examples/scenarios has some"),
        (["small.toml", "--policy", "rnadom"], 'error: unknown policy "rnadom"\nhint: did you mean "ran'),
        (["small.toml", "--seed=-1"], "error: -1 is no seed\n"),
        (["small.toml", "--plot", "a.jpg"], "error: a.jpg is no picture\nhint: its name ends in .png"),
        (["small.toml", "--plot", "no/a.png"], "error: there is no folder no\nhint: mkdir -p no\n"),
        (["small.toml", "--series"], "error: --series is part of --json\n"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_says_what_to_do(
    arguments: list[str], expected: str, small: Path
) -> None:
    done = steelyard("simulate", *arguments, cwd=small.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(expected)


def test_a_scenario_with_a_mistake_ends_with_2_and_its_place(small: Path) -> None:
    small.write_text(SMALL.replace("poisson", "poison"), encoding="utf-8")
    done = steelyard("simulate", small.name, cwd=small.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('small.toml:7:14: arrivals.kind: unknown kind "poison"\n')


INTERRUPTED = """
import os, signal
from steelyard import sim
from steelyard.cli import main, simulate
real = sim.simulate
def with_interrupt(path, *, progress, **rest):
    def interrupt(share):
        os.kill(os.getpid(), signal.SIGINT)
        progress(share)
    return real(path, progress=interrupt, **rest)
sim.simulate = with_interrupt
main()
"""


def test_an_interrupt_ends_it_with_one_line(small: Path) -> None:
    small.write_text(SMALL.replace("2_000", "20_000_000"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "simulate", small.name],
        capture_output=True,
        text=True,
        cwd=small.parent,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; there is no result\n"
