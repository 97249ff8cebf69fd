"""Scenarios for the simulator that are sound, and results as it would give them."""

from pathlib import Path
from typing import Any

from steelyard import sim

GOOD = """\
policies = ["random", "least_request"]
endpoints = [{ count = 2 }, { name = "slow", speed = 0.5 }]
arrivals = { kind = "poisson", rate = 2.0 }
service = { kind = "exponential", mean = "1s" }
"""

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


def with_policies(written: str) -> str:
    return GOOD.replace('["random", "least_request"]', written)


def small_scenario(folder: Path) -> Path:
    """The small one in a file."""
    path = folder / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def policy(name: str, p99: float, spread: float = 0.1, errors: int = 0) -> dict[str, Any]:
    times = {f"{measure}_s": p99 for measure in sim.MEASURES}
    intervals = {f"{measure}_ci_s": (p99 - spread, p99 + spread) for measure in sim.MEASURES}
    counts = {"requests": 1000, "errors": errors, "retries": 0, "utilisation": 0.5}
    return {"name": name, **times, **intervals, **counts, "queue_wait_mean_s": 0.0, "share": [1.0]}


def result_of(*policies: dict[str, Any], differences: tuple[dict[str, Any], ...] = ()) -> sim.Result:
    return sim.Result.model_validate(
        {"seed": 1, "events_per_second": 1.0, "policies": policies, "differences": differences}
    )
