"""Every scenario of the examples runs, and shows what it promises, in a tenth of its time."""

import tomllib
from pathlib import Path

import pytest

from steelyard import sim
from steelyard.sim.arrivals import Profile

SCENARIOS = Path(__file__).parent.parent / "examples" / "scenarios"
# What may come out as the best in the mean.
BEST = {
    "caches": {"maglev", "rendezvous", "ring_hash"},
    "fails-fast": {"least_request", "least_time"},
    "flash-crowd": {"least_request", "round_robin"},
    "flash-crowd-with-queue": {"least_request", "random", "round_robin"},
    "heterogeneous": {"least_time"},
    "many-balancers": {"least_time"},
    "one-slow-server": {"least_time"},
    "sessions": {"bounded_hash", "rendezvous", "ring_hash", "sticky"},
    "slow-start-deployment": {"least_request", "least_time", "peak_ewma"},
    "stale-information": {"round_robin"},
    "unequal-requests": {"least_request"},
}
SHORTER = 0.25


def shorter(scenario: sim.Scenario) -> sim.Scenario:
    """The same in a part of its virtual time, faults and profile with it, and once instead of many times."""
    faults = tuple(
        one.model_copy(update={"at": one.at * SHORTER, "until": one.until and one.until * SHORTER})
        for one in scenario.faults
    )
    arrivals = scenario.arrivals
    if isinstance(arrivals, Profile):
        points = tuple((time * SHORTER, rate) for time, rate in arrivals.points)
        arrivals = arrivals.model_copy(update={"points": points})
    changed = {
        "requests": scenario.requests and 10_000,
        "duration": scenario.duration and scenario.duration * SHORTER,
        "replications": 1,
        "faults": faults,
        "arrivals": arrivals,
    }
    return scenario.model_copy(update=changed)


def test_all_of_them_are_tried_here() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.toml")} == set(BEST)


@pytest.mark.parametrize("name", BEST)
def test_it_runs_and_has_the_answer_of_the_manual(name: str) -> None:
    result = sim.simulate(shorter(sim.load(SCENARIOS / f"{name}.toml")))
    assert result.warnings == () or name.startswith("flash-crowd")
    assert all(one.requests > 5_000 and one.p99_s for one in result.policies)
    ranking = result.ranking("mean")
    assert ranking is not None
    assert ranking.best in BEST[name]


@pytest.mark.parametrize("name", BEST)
def test_it_is_explained_at_its_top_and_names_its_schema(name: str) -> None:
    path = SCENARIOS / f"{name}.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    schema = lines[0].removeprefix("#:schema ")
    assert (path.parent / schema).resolve() == sim.SCHEMA_PATH.resolve()
    assert len([line for line in lines if line.startswith("# ")]) >= 3
    assert tomllib.loads("\n".join(lines))["seed"] == 7
