"""Every example runs, and says what it promises."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_five_busy_servers_share_a_hundred_requests() -> None:
    command = [sys.executable, str(EXAMPLES / "busy-servers" / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    counts = dict(line.split(": ") for line in done.stdout.splitlines())
    assert set(counts) == {f"server-{number}" for number in range(1, 6)}
    assert sum(int(count) for count in counts.values()) == 100


def test_calls_of_grpc_are_balanced_one_by_one() -> None:
    command = [sys.executable, str(EXAMPLES / "grpc" / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["both serve: server-1 10, server-2 10", "one serves: server-2 20"]
