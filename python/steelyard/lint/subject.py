"""The score under trial, and the worlds that it is driven in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard import sim
from steelyard.config.score import FACTS, Compiled

__all__ = ["Seen", "Subject"]

COMPARED = {"all": "least_request", "two": "p2c"}
"""How many endpoints are compared for a request, and the engine's own policy that does the same."""


@dataclass(frozen=True)
class Seen:
    """What a score did in one world."""

    compared: str
    shares: Mapping[str, float]
    reference: Mapping[str, float]
    """What the engine's own policy gave them there."""

    @property
    def own_policy(self) -> str:
        return COMPARED[self.compared]

    @property
    def how(self) -> str:
        return f"when {self.compared} are compared"


@dataclass(frozen=True)
class Subject:
    """A score, compiled."""

    name: str
    folder: Path
    seed: int
    compiled: Compiled

    def score(self, **facts: float) -> float:
        """Of one endpoint; what is not said of it is as of one that is new and idle, of weight 1."""
        values = {**dict.fromkeys(FACTS, 0.0), "weight": 1.0, **facts}
        return float(self.compiled.native.ctypes(*(float(values[name]) for name in FACTS)))

    def drive(
        self, endpoints: Sequence[Mapping[str, Any]], faults: Sequence[Mapping[str, Any]] = (), **world: Any
    ) -> Iterator[Seen]:
        """Runs it in a world of these endpoints; nothing but the policy decides there."""
        own = [{"name": self.name}, {"name": self.name, "choices": 2}]
        data = {
            "policies": [*own, *COMPARED.values()],
            "endpoints": endpoints,
            "faults": faults,
            "series_buckets": 1,
            # Health and repetitions would put right what the score does wrong.
            "ejection": False,
            "health": {"interval": "off"},
            "retry": {"attempts": 1},
            **world,
        }
        scenario = sim.Scenario.model_validate(data, context={"folder": self.folder})
        result = sim.simulate(scenario, seed=self.seed)
        shares = [dict(zip(result.endpoints, one.share, strict=True)) for one in result.policies]
        for number, compared in enumerate(COMPARED):
            yield Seen(compared, shares[number], shares[number + len(own)])
