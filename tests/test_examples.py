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


def test_https_is_redirected_to_and_renewed() -> None:
    command = [sys.executable, str(EXAMPLES / "tls" / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "the server was asked over https",
        "browsers are told max-age=63072000",
        "days left: 29",
        "days left after renewal: 59",
    ]
