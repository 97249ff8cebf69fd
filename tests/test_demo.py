"""The demo, as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_demo_loses_no_request_while_an_origin_is_killed_and_comes_back() -> None:
    command = [str(Path(sys.executable).with_name("steelyard")), "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["first"]["requests"] == 100
    assert report["first"]["errors"] == 0
    assert sum(report["first"]["served"].values()) == 100
    assert report["tour"]["errors"] == 0
    assert report["tour"]["requests"] > 1000
    assert [event["event"].split(" is ")[1] for event in report["events"]] == [
        "killed",
        "started again",
        "healthy again",
    ]
