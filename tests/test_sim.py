"""Runs of the simulator: what Python gives and takes, what the command prints, and how it ends."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from pydantic import ValidationError
from rich.console import Console

from steelyard import sim
from steelyard.cli import simulate as command
from steelyard.errors import ConfigError, SteelyardError, UsageError
from steelyard.sim import plot
from test_cli import steelyard

SMALL = """\
seed = 7
requests = 2_000
replications = 3
series_buckets = 20
policies = ["random", "least_request"]
endpoints = [{ count = 3 }, { name = "slow", speed = 0.5 }]
arrivals = { kind = "poisson", rate = 1.5 }
service = { kind = "exponential", mean = "1s" }
[[faults]]
at = "100s"
until = "300s"
endpoint = "slow"
kind = "slow"
factor = 2.0
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


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


def policy(name: str, p99: float, spread: float = 0.1, errors: int = 0) -> dict[str, Any]:
    times = {f"{measure}_s": p99 for measure in sim.MEASURES}
    intervals = {f"{measure}_ci_s": (p99 - spread, p99 + spread) for measure in sim.MEASURES}
    counts = {"requests": 1000, "errors": errors, "retries": 0, "utilisation": 0.5}
    return {"name": name, **times, **intervals, **counts, "queue_wait_mean_s": 0.0, "share": [1.0]}


def result_of(*policies: dict[str, Any], differences: tuple[dict[str, Any], ...] = ()) -> sim.Result:
    return sim.Result.model_validate(
        {"seed": 1, "events_per_second": 1.0, "policies": policies, "differences": differences}
    )


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


@pytest.fixture(scope="module")
def fonts_are_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The library for pictures keeps its fonts open for the process; that is no descriptor left behind."""
    folder = tmp_path_factory.mktemp("fonts")
    plot.draw(result_of(policy("a", 1.0) | {"distribution": [(1.0, 0.1), (2.0, 0.9)]}), folder / "a.png")


@pytest.mark.usefixtures("fonts_are_open")
def test_pictures_are_drawn_in_the_format_of_their_name(small: Path) -> None:
    done = steelyard("simulate", small.name, "--plot", "a.png", cwd=small.parent)
    assert (done.returncode, done.stderr) == (0, "drawn: a.png\n")
    assert (small.parent / "a.png").read_bytes().startswith(b"\x89PNG")
    result = sim.simulate(small)
    plot.draw(result, small.parent / "a.svg")
    text = (small.parent / "a.svg").read_text(encoding="utf-8")
    assert "<svg" in text


@pytest.mark.usefixtures("fonts_are_open")
def test_a_picture_without_loads_over_time_has_the_times_alone(small: Path) -> None:
    result = sim.simulate(small)
    bare = [one.model_copy(update={"series": None}) for one in result.policies]
    plot.draw(result.model_copy(update={"policies": tuple(bare)}), small.parent / "a.png")
    assert (small.parent / "a.png").stat().st_size > 10_000


def drawn(result: sim.Result, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that would be written."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    plot.draw(result, Path("a.png"))
    figures[0].draw_without_rendering()
    return figures[0]


@pytest.mark.usefixtures("fonts_are_open")
def test_no_two_curves_of_a_picture_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = {"distribution": [(1.0, 0.1), (2.0, 0.9)]}
    figure = drawn(result_of(*(policy(f"p{n}", 1.0) | curve for n in range(24))), monkeypatch)
    looks = {
        (line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in figure.axes[0].lines
    }
    assert len(looks) == 24
    legend = figure.axes[0].get_legend()
    assert legend is not None
    # And all of them are named, within the picture.
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 24
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.height


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize("name", ["_mine:score", r"prequal probe_path=/$\frac$", "x" * 200])
def test_a_name_is_drawn_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = {"distribution": [(1.0, 0.1), (2.0, 0.9)]}
    figure = drawn(result_of(policy(name, 1.0) | curve), monkeypatch)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    (text,) = legend.get_texts()
    assert text.get_text() in (name, f"{'x' * 31}…")
    assert legend.get_window_extent().x1 <= figure.bbox.width


@pytest.mark.usefixtures("fonts_are_open")
def test_a_picture_without_answers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(result_of(policy("a", 1.0)), monkeypatch)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no request was answered"]


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize(
    ("endpoints", "faulty", "lines"),
    [
        # Of as many faults as there are loud colours each has one, and all others have another.
        ("{ count = 9 }", 4, 5),
        ("{ count = 9 }", 7, 8),
        # More can be told apart by nobody.
        ("{ count = 9 }", 8, 1),
        (", ".join(f'{{ name = "g{number}" }}' for number in range(8)), 0, 8),
        (", ".join(f'{{ name = "g{number}" }}' for number in range(9)), 0, 1),
    ],
)
def test_lines_of_endpoints_can_be_told_apart(
    endpoints: str, faulty: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.partition("[[faults]]")[0].replace(
        '{ count = 3 }, { name = "slow", speed = 0.5 }', endpoints
    )
    fault = f'[[faults]]\nat = "1s"\nendpoint = {list(range(faulty))}\nkind = "stop"\n'
    scenario = sim.load_text(text + fault if faulty else text)
    figure = drawn(sim.simulate(scenario), monkeypatch)
    lower = figure.subfigs[1]
    shown = lower.axes[0].lines[:lines]
    assert len({(line.get_color(), line.get_linestyle()) for line in shown}) == lines
    (legend,) = lower.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len([name for name in names if name != "a fault lasts"]) == lines
    assert legend.get_window_extent().y0 >= 0


@pytest.mark.usefixtures("fonts_are_open")
def test_whatever_is_drawn_over_the_loads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SMALL + '[[faults]]\nat = "50s"\nendpoint = 0\nkind = "add"\n'
    (legend,) = drawn(sim.simulate(sim.load_text(text)), monkeypatch).subfigs[1].legends
    names = [one.get_text() for one in legend.get_texts()]
    assert names == ["the other 2 endpoints", "endpoint-0", "slow", "a fault lasts", "an endpoint joins"]


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize("points", [1, 2])
def test_a_short_run_can_be_drawn(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SMALL.replace("series_buckets = 20", f"series_buckets = {points}")
    # A warning would be an error here.
    drawn(sim.simulate(sim.load_text(text)), monkeypatch)


@pytest.mark.usefixtures("fonts_are_open")
@pytest.mark.parametrize(
    ("arrivals", "panel"),
    [
        ('{ kind = "poisson", rate = 1.5 }', False),
        ('{ kind = "profile", points = [["0s", 0.5], ["600s", 0.5], ["601s", 2.0]] }', True),
    ],
)
def test_the_rate_is_drawn_where_it_changes_by_more_than_chance(
    arrivals: str, panel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.replace('{ kind = "poisson", rate = 1.5 }', arrivals)
    if not panel:
        # So few that ten parts of the run differ a lot.
        text = text.partition("[[faults]]")[0].replace("2_000", "200")
    figure = drawn(sim.simulate(sim.load_text(text)), monkeypatch)
    titles = [axes.get_title(loc="left") for axes in figure.subfigs[1].axes]
    assert ("arrivals a second" in titles) is panel


def test_without_matplotlib_the_remedy_is_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(SteelyardError) as caught:
        command.simulate(
            small,
            policies=None,
            seed=None,
            plot=small.parent / "a.png",
            endpoints=False,
            as_json=False,
            series=False,
        )
    assert str(caught.value) == "pictures need matplotlib\nhint: pip install 'steelyard[plot]'"
