"""The tour keeps its promise: no client sees an error while an origin dies and comes back."""

import json
import subprocess
import sys

import pytest

from steelyard.demo import Demo
from steelyard.errors import SteelyardError

MAIN = "from steelyard.cli import main; main()"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_demo_ends_by_itself_and_no_client_saw_an_error() -> None:
    done = demo("--json", "--policy", "round_robin")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["policy"] == "round_robin"
    assert set(result["first"]["served"]) == {f"origin-{number}" for number in range(1, 6)}
    assert sum(result["first"]["served"].values()) == 100
    assert (result["first"]["errors"], result["tour"]["errors"]) == (0, 0)
    assert [one["event"] for one in result["events"]] == [
        "origin-3 is killed",
        "origin-3 is started again",
        "origin-3 is healthy again",
    ]
    assert result["tour"]["requests"] >= 4000
    assert set(result["tour"]["served"]) == {f"origin-{number}" for number in range(1, 6)}
    assert all(one["in_flight"] == 0 for one in result["endpoints"])


def test_in_a_pipe_it_is_plain_text() -> None:
    done = demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "100 requests, busy origins skipped; who served how many:" in done.stdout
    assert "no client saw an error" in done.stdout


def test_a_policy_is_taken_as_it_is_written() -> None:
    done = demo("--policy", 'random"\nfail_open = "x')
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown policy" in done.stderr
    assert "fail_open: " not in done.stderr


def test_an_origin_that_stays_ill_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steelyard.demo.START_TIMEOUT_S", 3.0)
    with Demo() as running:
        running.origins[1].kill()
        monkeypatch.setattr(running, "healthy", set)
        with pytest.raises(SteelyardError, match=r"within 3 s: .*origin-2 is unhealthy \(.*refused"):
            running.wait_until_ready()


def test_an_unknown_policy_is_refused() -> None:
    done = demo("--policy", "roundrobin")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith('unknown policy "roundrobin"\nhint: did you mean "round_robin"?\n')
