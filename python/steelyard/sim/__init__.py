"""The simulator: policies compared under a virtual clock, by the engine's own code.

from steelyard import sim

result = sim.simulate("examples/scenarios/heterogeneous.toml", seed=1)
print(result.policy("least_request").p99_s, result.ranking("p99"))
"""

from pathlib import Path

from steelyard.sim.load import load, load_text
from steelyard.sim.result import (
    MEASURES,
    Difference,
    Happening,
    PolicyResult,
    Ranking,
    Result,
    Series,
    TraceRead,
)
from steelyard.sim.run import Progress, simulate
from steelyard.sim.scenario import Scenario

__all__ = [
    "MEASURES",
    "SCHEMA_PATH",
    "Difference",
    "Happening",
    "PolicyResult",
    "Progress",
    "Ranking",
    "Result",
    "Scenario",
    "Series",
    "TraceRead",
    "load",
    "load_text",
    "simulate",
]

SCHEMA_PATH = Path(__file__).with_name("schema.json")
"""The JSON Schema of a scenario, for editors."""
