"""Policies written in Python: found by name, compiled, tried, and refused where they are wrong."""

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from language import client, origin
from steelyard import config
from steelyard.errors import ConfigError, Problem

SOUND = """\
def score(endpoint):
    return (1 + endpoint.in_flight) * max(endpoint.latency, 1e-3) / endpoint.weight
"""
FILE = 'listen = "127.0.0.1:0"\nendpoints = ["127.0.0.1:9001"]\npolicy = {policy}\n'


class Folder:
    """A folder with a configuration and a module beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "steelyard.toml"
        self.module = path / "mine.py"

    def holds(self, module: str, policy: str = '"mine:score"') -> "Folder":
        self.module.write_text(textwrap.dedent(module))
        self.path.write_text(FILE.format(policy=policy))
        return self

    def score(self) -> dict[str, object]:
        (pool,) = config.document(config.load(self.path))["pools"]
        assert pool["policy"]["name"] == "scored"
        score: dict[str, object] = pool["policy"]["score"]
        return score

    def refusal(self) -> Problem:
        with pytest.raises(ConfigError) as refused:
            config.load(self.path)
        (problem,) = refused.value.problems
        assert (problem.line, problem.key) in [(3, "policy"), (3, "policy.name")]
        return problem


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class TestASoundScore:
    def test_crosses_by_its_address(self, folder: Folder) -> None:
        score = folder.holds(SOUND).score()
        assert score["label"] == "mine:score"
        assert score["of_two"] is False
        assert isinstance(score["address"], int)

    @pytest.mark.parametrize(
        ("expression", "reads"),
        [
            ("(1 + endpoint.in_flight) / endpoint.weight", ["in_flight", "weight"]),
            (
                "endpoint[1] + (0 if endpoint.age > 5 else endpoint.zone_match)",
                ["latency", "age", "zone_match"],
            ),
            ("sum_of(endpoint)", ["error_rate", "bytes_per_second"]),
            ("7.0", []),
        ],
    )
    def test_names_what_it_reads(self, folder: Folder, expression: str, reads: list[str]) -> None:
        helper = """
            import numba

            @numba.njit
            def sum_of(endpoint):
                return endpoint.bytes_per_second + endpoint.error_rate

            def score(endpoint):
                return EXPRESSION
            """
        assert folder.holds(helper.replace("EXPRESSION", expression)).score()["reads"] == reads

    def test_may_compare_two_only(self, folder: Folder) -> None:
        assert folder.holds(SOUND, '{ name = "mine:score", choices = 2 }').score()["of_two"] is True

    def test_stays_the_same_function_until_its_file_changes(self, folder: Folder) -> None:
        before = folder.holds(SOUND).score()["address"]
        assert folder.score()["address"] == before
        assert folder.holds(SOUND + "\nOTHER = 1\n").score()["address"] != before

    def test_may_branch_call_functions_and_divide_by_zero(self, folder: Folder) -> None:
        folder.holds(
            """
            import math

            def score(endpoint):
                if endpoint.error_rate > 0.5:
                    return math.inf
                return math.sqrt(endpoint.in_flight) + 1 / endpoint.latency
            """
        ).score()

    def test_is_written_back_as_it_was(self, folder: Folder) -> None:
        assert 'policy = "mine:score"' in config.show(config.load(folder.holds(SOUND).path))


WRONG = {
    "no such function": ("def other(endpoint): return 1", 'has no function "score"', "it has other"),
    "wrong arity": (
        "def score(a, b): return a",
        "mine.py:1: score(a, b) does not take one endpoint",
        "write def",
    ),
    "parameters by name": (
        "def score(endpoint, *, cls=None, **rest): return 1.0",
        "mine.py:1: score has parameters by name besides the endpoint, which cannot be compiled",
        "write def score(endpoint)",
    ),
    "syntax": ("def score(endpoint)\n    return 1", "mine.py:1: expected ':'", ""),
    "import fails": ("import nowhere", "No module named 'nowhere'", "looked in"),
    "unknown reading": (
        "def score(endpoint):\n    return endpoint.speed",
        "mine.py:2: Unknown attribute 'speed' of an endpoint",
        "an endpoint has in_flight, latency, error_rate, weight, bytes_per_second, age, zone_match",
    ),
    "misspelt reading": (
        "def score(endpoint):\n    return endpoint.inflight",
        "mine.py:2: Unknown attribute 'inflight' of an endpoint",
        "did you mean endpoint.in_flight?",
    ),
    "a number": ("score = 5", "mine.score is of type int, no function", "it has no functions"),
    "a class": ("class score: ...\ndef other(e): ...", "mine.score is a class, no function", "it has other"),
    "no text": ("\0", "mine.py:1: source code string cannot contain null bytes", ""),
    "unsupported construct": (
        "def score(endpoint):\n    return open('/etc/hostname')",
        "mine.py:",
        "arithmetic",
    ),
    "can raise": (
        "def score(endpoint):\n    if endpoint.latency > 1:\n        raise ValueError\n    return 1.0",
        "mine.py:1: score can raise an error",
        "arithmetic",
    ),
    "allocates": (
        "def score(endpoint):\n    return sum([endpoint.latency, endpoint.in_flight])",
        "mine.py:1: score ",
        "arithmetic",
    ),
    "prints": ("def score(endpoint):\n    print(1)\n    return 1.0", "mine.py:1: score can", "arithmetic"),
    "is no number": (
        "def score(endpoint):\n    return endpoint.latency / endpoint.bytes_per_second",
        "mine.py:1: the score is no number for in_flight=0, latency=0",
        "guard the division",
    ),
    "text": (
        "def score(endpoint):\n    return 'low'",
        "mine.py:1: score returns what is no number (Literal[str])",
        "returned on every way",
    ),
    "nothing": (
        "def score(endpoint):\n    endpoint.in_flight",
        "mine.py:1: score returns None",
        "returned on every way",
    ),
    "index out of bounds": (
        "import numpy\nKNOWN = numpy.array([1.0, 2.0])\ndef score(endpoint):\n"
        "    return KNOWN[int(endpoint.in_flight)]",
        "mine.py:3: score can raise an error",
        "arithmetic",
    ),
    "whole numbers divided": (
        "def score(endpoint):\n    return 1 // int(endpoint.in_flight)",
        "mine.py:1: score divides whole numbers",
        "leave out int()",
    ),
    "import within": (
        "def score(endpoint):\n    import random\n    return random.random()",
        "mine.py:1: score cannot be compiled",
        "arithmetic",
    ),
    "ends the process": (
        "ON = True\nif ON:\n    raise SystemExit(3)",
        "mine.py:3: the module mine cannot be imported: SystemExit: 3",
        "",
    ),
    "is asynchronous": (
        "async def score(endpoint):\n    return 1.0",
        "mine.py:1: score is an async function",
        "def score(endpoint)",
    ),
    "is a generator": (
        "def score(endpoint):\n    yield 1.0",
        "mine.py:1: score is a generator",
        "def score(endpoint)",
    ),
    "takes anything": (
        "\ndef score(*endpoints):\n    return 1.0",
        "mine.py:2: score(*endpoints) has no parameter for the endpoint",
        "def score(endpoint)",
    ),
    "writes": (
        "def score(endpoint):\n    endpoint.weight = 3.0\n    return 1.0",
        "cannot be compiled",
        "arith",
    ),
}


@pytest.mark.parametrize(("module", "message", "hint"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place(folder: Folder, module: str, message: str, hint: str) -> None:
    problem = folder.holds(module).refusal()
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_without_the_compiler_it_says_what_to_install(folder: Folder) -> None:
    folder.holds(SOUND)
    script = "import sys; sys.modules['numba'] = None; from steelyard.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "check", str(folder.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'pip install "steelyard[numba]"' in done.stderr


@dataclass(frozen=True)
class Listening:
    """A proxy that is known by its address alone."""

    address: str

    def listening(self, listener: str) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)


HOLDS_THE_INTERPRETER = """
import json, sys
from pathlib import Path
from steelyard import config
from steelyard.control import ConfigSource, Control

path = Path(sys.argv[1])
source = ConfigSource(str(path), path, lambda: config.load(path))
control = Control.start(source, source.load())
print(control.status()["listeners"][0]["bind"][0], flush=True)
sys.stdin.readline()
print("holding", flush=True)
sum(range(200_000_000))
print("let go", flush=True)
control.close()
"""


def test_a_division_by_zero_waits_for_no_interpreter(folder: Folder) -> None:
    """While a loop in C holds the interpreter, an exception in a score could not even be raised."""
    servers = [origin(), origin()]
    folder.holds("def score(endpoint):\n    return 1 / (endpoint.age * 0) + endpoint.in_flight\n")
    addresses = json.dumps([server.address for server in servers])
    folder.path.write_text(folder.path.read_text().replace('["127.0.0.1:9001"]', addresses))
    command = [sys.executable, "-c", HOLDS_THE_INTERPRETER, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asking = client(Listening(process.stdout.readline().strip()))
        assert asking.get("/").status == 200
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "holding\n"
        assert [asking.get("/").status for _ in range(50)] == [200] * 50
        process.kill()


def test_a_dot_for_the_colon_is_told(folder: Folder) -> None:
    problem = folder.holds(SOUND, '"mine.score"').refusal()
    assert problem.message == '"mine.score" names no policy'
    assert problem.hint == 'one written in Python has a colon before the function: "mine:score"'
