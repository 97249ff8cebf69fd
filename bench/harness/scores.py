"""Picks by a policy written in Python, beside the same score in Rust and the engine's own policy for it."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.processes import PROXY_CORE
from harness.score_picks import ENDPOINTS

__all__ = ["ENDPOINTS", "Pick", "measure"]

HERE = Path(__file__).resolve().parent
LIBRARY = "libsteelyard_bench_scores.so"


@dataclass(frozen=True)
class Pick:
    """One score, with all endpoints compared or two: processor time a pick, one sample each round."""

    score: str
    compared: str
    # The engine's own policy that computes the same; empty where there is none.
    own: str
    python_ns: list[float]
    rust_ns: list[float]
    own_ns: list[float]

    @property
    def name(self) -> str:
        return f"{self.score}, {self.compared} of {ENDPOINTS}"

    def over_rust(self) -> float:
        return ratio(self.python_ns, self.rust_ns)

    def over_own(self) -> float | None:
        return ratio(self.python_ns, self.own_ns) if self.own_ns else None


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def measure(binaries: Path, *, quick: bool) -> list[Pick]:
    """All of them, on one core."""
    picks, rounds = (200_000, 3) if quick else (2_000_000, 9)
    program = [sys.executable, str(HERE / "score_picks.py"), str(binaries / LIBRARY), str(picks), str(rounds)]
    pinned = ["taskset", "--cpu-list", str(PROXY_CORE), *program]
    done = subprocess.run(pinned, capture_output=True, text=True, check=True)
    return [Pick(**one) for one in json.loads(done.stdout)]
