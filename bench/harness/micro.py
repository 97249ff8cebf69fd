"""The small benches: criterion's times, and instruction counts where valgrind is there."""

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.products.base import REPOSITORY

PACKAGES = ("steelyard-core", "steelyard-proxy")
RUST = str(REPOSITORY / "scripts/rust")

# Enough iterations that starting the program vanishes in the difference of the two runs.
INSTRUCTION_RUNS = (1_000, 11_000)


@dataclass(frozen=True)
class Timing:
    """One criterion bench: the median of its samples and its confidence interval, in nanoseconds."""

    name: str
    median_ns: float
    low_ns: float
    high_ns: float


@dataclass(frozen=True)
class Instructions:
    """Instructions that one iteration takes."""

    name: str
    count: float


def target_folder() -> Path:
    """Where cargo builds."""
    said = subprocess.run(
        [RUST, "cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(said.stdout)["target_directory"])


def build_tools() -> Path:
    """Builds the load generator, the relay, the origin and what times scores; gives their folder."""
    names = ("steelyard-bench-tools", "steelyard-bench-scores", "steelyard-origin")
    packages = [word for name in names for word in ("--package", name)]
    subprocess.run(
        [RUST, "cargo", "build", "--release", "--locked", "--quiet", *packages], cwd=REPOSITORY, check=True
    )
    return target_folder() / "release"


def timings(*, quick: bool) -> list[Timing]:
    """Runs criterion's benches and reads what they left."""
    begin = time.time()
    packages = [word for package in PACKAGES for word in ("--package", package)]
    # Named one by one: a library's own test harness would not understand criterion's options.
    names = _bench_targets()
    if not names:
        return []
    command = [RUST, "cargo", "bench", "--locked", *packages]
    command += [word for name in names for word in ("--bench", name)]
    if quick:
        command += ["--", "--quick"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    found = []
    for path in (target_folder() / "criterion").glob("**/new/estimates.json"):
        if path.stat().st_mtime >= begin:
            median = json.loads(path.read_text())["median"]
            interval = median["confidence_interval"]
            found.append(
                Timing(
                    name=json.loads((path.parent / "benchmark.json").read_text())["full_id"],
                    median_ns=median["point_estimate"],
                    low_ns=interval["lower_bound"],
                    high_ns=interval["upper_bound"],
                )
            )
    return sorted(found, key=lambda timing: _natural(timing.name))


def instructions(binaries: Path) -> list[Instructions]:
    """Counts what one iteration of each case takes; `valgrind` must be there."""
    program = str(binaries / "instructions")
    listed = subprocess.run([program], capture_output=True, text=True, check=True)
    return [Instructions(name=case, count=_per_iteration(program, case)) for case in listed.stdout.split()]


def _per_iteration(program: str, case: str) -> float:
    few, many = INSTRUCTION_RUNS
    return (_collected(program, case, many) - _collected(program, case, few)) / (many - few)


def _collected(program: str, case: str, iterations: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program]
    command += ["--case", case, "--iterations", str(iterations)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r"Collected\s*:\s*(\d+)", said.stderr)
    if match is None:
        raise RuntimeError(f"callgrind counted nothing: {said.stderr}")
    return int(match[1])


def _bench_targets() -> list[str]:
    crates = REPOSITORY / "crates"
    return sorted(path.stem for package in PACKAGES for path in (crates / package).glob("benches/*.rs"))


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders 10 before 100 and that before 1000."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]
