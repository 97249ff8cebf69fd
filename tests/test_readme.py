"""What README.md shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard import config

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def test_its_configuration_is_sound() -> None:
    assert list(config.load_text(block("toml")).pools) == ["app"]


def test_its_python_runs(tmp_path: Path) -> None:
    # Any free port, since this machine may use that of the example.
    (tmp_path / "my.toml").write_text(block("toml").replace(":8080", "127.0.0.1:0"))
    command = [sys.executable, "-c", block("python")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "'verdict': 'draining'" in done.stdout


@pytest.mark.parametrize(
    "line", [one for one in README.splitlines() if one.startswith("$ .venv/bin/steelyard")]
)
def test_its_commands_are_there(line: str) -> None:
    command = line.split()[2]
    main = "from steelyard.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, command, "-h"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    options = re.findall(r"--[a-z]+", line.partition("#")[0])
    assert all(option in done.stdout for option in options)
