"""The simulator's speed, and how it compares with simpy and ciw on one model in one run."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from harness.processes import PROXY_CORE

# Pinned, so that what is compared stays the same; they are needed for nothing else.
PEERS = {"simpy": "4.1.2", "ciw": "3.2.7"}
HERE = Path(__file__).resolve().parent

# The model of the comparison: Poisson arrivals at so many exponential servers with one queue.
SERVERS = 10
UTILISATION = 0.9
OURS = "steelyard"
# The same again as ten endpoints behind the pool's queue, which is what the proxy can do.
OURS_QUEUE = "steelyard, through thresholds and the pool's queue"
# Rounds, each of all three, so that a disturbance meets all of them.
ROUNDS = 5


@dataclass
class Speeds:
    """Arrivals and completions per second of one core, one sample a round."""

    # The power of two choices at 100 endpoints.
    two_choices: list[float] = field(default_factory=list)
    # The same M/M/n by each, the mean time in the system beside it: they must agree on what they simulate.
    central: dict[str, list[float]] = field(default_factory=dict)
    means_s: dict[str, float] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.central[name])

    def ratio(self, peer: str) -> float:
        """Our median over a peer's."""
        return self.median(OURS) / self.median(peer)


def install() -> None:
    """Puts the peers beside the harness."""
    wanted = [f"{name}=={version}" for name, version in PEERS.items()]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    subprocess.run(command, check=True)


def measure(binaries: Path, *, quick: bool) -> Speeds:
    """Runs all of them in turn, each alone on one core."""
    install()
    speeds = Speeds()
    tool = str(binaries / "simulate_speed")
    ours, theirs = (400_000, 5_000) if quick else (4_000_000, 50_000)
    model = ["--servers", str(SERVERS), "--utilisation", str(UTILISATION), "--requests", str(ours)]
    for _ in range(1 if quick else ROUNDS):
        said = _run([tool, "--model", "two_choices", "--requests", str(ours)])
        speeds.two_choices.append(said["events_per_second"])
        _note(speeds, OURS, _run([tool, "--model", "servers", *model]))
        _note(speeds, OURS_QUEUE, _run([tool, "--model", "queue", *model]))
        for name in PEERS:
            program = [sys.executable, str(HERE / "queue_models.py"), name]
            _note(speeds, name, _run([*program, str(SERVERS), str(UTILISATION), str(theirs)]))
    return speeds


def _note(speeds: Speeds, name: str, said: dict[str, float]) -> None:
    speeds.central.setdefault(name, []).append(said["events_per_second"])
    speeds.means_s[name] = said["mean_s"]


def _run(command: list[str]) -> dict[str, float]:
    pinned = ["taskset", "--cpu-list", str(PROXY_CORE), *command]
    done = subprocess.run(pinned, capture_output=True, text=True, check=True)
    said: dict[str, float] = json.loads(done.stdout)
    return said
