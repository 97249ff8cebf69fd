"""Policies written in Python under trial: what is wrong with them is found, and what is sound passes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard.errors import UsageError
from steelyard.lint import Report, lint

RUN = "import sys; from steelyard.cli import main; sys.exit(main())"
TRIALS = 11

SOUND = {
    "requests in flight": "(endpoint.in_flight + 1) / endpoint.weight",
    "and how long it takes": "(1 + endpoint.in_flight) * max(endpoint.latency, 1e-3) / endpoint.weight",
    "and how often it fails": "(1 + endpoint.in_flight) * (1 + 10 * endpoint.error_rate) / endpoint.weight",
    "nothing": "1.0",
}
WRONG = {
    "the oldest wins": (
        "endpoint.in_flight - 1e-6 * endpoint.age",
        {("ties", "all"), ("ties", "two")},
        "idle equal endpoints do not share alike when all are compared: endpoint-0 9",
        "leave out or round endpoint.age",
    ),
    "only time counts": (
        "endpoint.latency",
        {("ties", "all"), ("starvation", "all"), ("starvation", "two"), ("recovery", "all")},
        "recovered, which was ten times slower for 30 s and has been well for a minute, gets 0.0 % of",
        "multiply by (endpoint.in_flight + 1)",
    ),
    "errors attract": (
        "endpoint.in_flight - 100 * endpoint.error_rate",
        {("black_hole", "all"), ("black_hole", "two")},
        "at once gets 19.9 % of them when two are compared, of at most 20.0 %; p2c gives it 9.",
        "multiply by (1 + 10 * endpoint.error_rate)",
    ),
    "less from five on": (
        "endpoint.in_flight if endpoint.in_flight < 5 else 3.5",
        {("monotone", None)},
        "from 4 at in_flight=4 to 3.5 at in_flight=5",
        "let the score grow with endpoint.in_flight",
    ),
    "full is better": (
        "-endpoint.in_flight",
        {("starvation", "all"), ("black_hole", "all"), ("black_hole", "two"), ("monotone", None)},
        "from -0 at in_flight=0 to -1 at in_flight=1 (latency=0.02, ",
        "let the score grow with endpoint.in_flight",
    ),
}


def write(folder: Path, expression: str) -> Path:
    path = folder / "mine.py"
    path.write_text(f"def score(endpoint):\n    return {expression}\n")
    return path


def tried(folder: Path, expression: str, seed: int = 1) -> Report:
    write(folder, expression)
    return lint("mine:score", folder, seed=seed)


@pytest.mark.parametrize("expression", SOUND.values(), ids=SOUND)
def test_a_sound_score_passes_every_trial(tmp_path: Path, expression: str) -> None:
    report = tried(tmp_path, expression)
    assert report.findings == []
    assert len(report.trials) == TRIALS
    assert all(trial.ok for trial in report.trials)
    assert report.ok


@pytest.mark.parametrize(("expression", "found", "message", "hint"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found_and_nothing_else(
    tmp_path: Path, expression: str, found: set[tuple[str, str | None]], message: str, hint: str
) -> None:
    report = tried(tmp_path, expression)
    assert {(finding.check, finding.compared) for finding in report.findings} == found
    assert {(trial.check, trial.compared) for trial in report.trials if not trial.ok} == found
    assert any(message in finding.message and hint in finding.hint for finding in report.findings)
    assert all(finding.why for finding in report.findings)


def test_it_is_told_at_which_number_in_flight_the_score_falls(tmp_path: Path) -> None:
    (finding,) = tried(tmp_path, "endpoint.in_flight if endpoint.in_flight < 700 else 5").findings
    assert "from 699 at in_flight=699 to 5 at in_flight=700" in finding.message
    assert "in 144 of 144 settings" in finding.message


def test_one_seed_gives_one_report_and_another_another(tmp_path: Path) -> None:
    first = tried(tmp_path, "endpoint.in_flight")
    assert tried(tmp_path, "endpoint.in_flight").as_json() == first.as_json()
    assert tried(tmp_path, "endpoint.in_flight", seed=2).as_json()["trials"] != first.as_json()["trials"]


@pytest.mark.parametrize(("name", "seed"), [("least_request", 1), ("mine:score", -1)])
def test_what_cannot_be_tried_is_refused(tmp_path: Path, name: str, seed: int) -> None:
    write(tmp_path, "1.0")
    with pytest.raises(UsageError):
        lint(name, tmp_path, seed=seed)


def steelyard(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, "check", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_shows_what_was_tried_and_that_it_is_sound(tmp_path: Path) -> None:
    write(tmp_path, SOUND["requests in flight"])
    done = steelyard("--policy", "mine:score", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *table, _, last = done.stdout.splitlines()
    assert table[0].split() == ["tried", "compared", "seen", "sound", "if"]
    assert len(table) == 1 + TRIALS
    assert all(row.rstrip().endswith("ok") for row in table[1:])
    assert last == "mine:score is sound: 11 trials, seed 1 (mine.py:1)"


def test_the_manual_shows_what_the_command_prints(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/policies-in-python.md").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    (shown,) = re.findall(r"\$ steelyard check --policy mine:score\n(.*?)```", page, re.DOTALL)
    done = steelyard("--policy", "mine:score", folder=tmp_path)
    # Figures follow from every draw of the engine, so that another way to draw gives others.
    figure = re.compile(r" *[0-9.]+ %")
    printed, expected = (figure.sub(" %", text).split() for text in (done.stdout, shown))
    assert printed == expected


def test_the_command_says_what_is_wrong_why_it_matters_and_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, WRONG["errors attract"][0])
    done = steelyard("--policy", "mine:score", "--seed", "3", folder=tmp_path)
    assert done.returncode == 2
    assert sum(row.rstrip().endswith("wrong") for row in done.stdout.splitlines()) == 2
    told = done.stderr.splitlines()
    (at, *_) = (
        number for number, line in enumerate(told) if line.startswith("mine.py:1: an endpoint that fails")
    )
    assert told[at + 1].startswith("why: ")
    assert told[at + 2].startswith("hint: ")
    assert told[-1] == "mine:score has 2 problems in 11 trials, seed 3 (mine.py:1)"


def test_a_configuration_beside_it_says_where_the_module_is(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", WRONG["full is better"][0])
    good = tmp_path / "etc/steelyard.toml"
    good.write_text('listen = ":8080"\nendpoints = ["127.0.0.1:9001"]\n')
    done = steelyard("etc/steelyard.toml", "--policy", "mine:score", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")
    told = json.loads(done.stdout)
    assert (told["config"], told["policy"], told["seed"], told["ok"]) == (
        "etc/steelyard.toml", "mine:score", 1, False,
    )  # fmt: skip
    assert {"file", "line", "check", "compared", "message", "why", "hint"} == set(told["problems"][0])
    assert (told["problems"][0]["file"], told["problems"][0]["line"]) == ("etc/mine.py", 1)
    (black_hole, _) = (trial for trial in told["trials"] if trial["check"] == "black_hole")
    assert sum(black_hole["shares"].values()) == pytest.approx(1.0)
    good.write_text("listen = 1\n")
    assert steelyard("etc/steelyard.toml", "--policy", "mine:score", folder=tmp_path).returncode == 2


def test_what_cannot_be_compiled_is_told_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, "endpoint.speed")
    done = steelyard("--policy", "mine:score", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: mine.py:2: Unknown attribute 'speed'")
    (problem,) = json.loads(steelyard("--policy", "mine:score", "--json", folder=tmp_path).stdout)["problems"]
    assert (problem["file"], problem["line"]) == ("mine.py", 2)
    assert problem["message"].startswith("Unknown attribute")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "2"], "error: --seed is for the trials of --policy"),
        (["--policy", "mine:score", "--show"], "error: --show prints a configuration"),
        (["--policy", "p2c"], 'error: "p2c" is no policy written in Python\nhint: p2c is the engine\'s own'),
        (
            ["--policy", "ring_hash:key"],
            'error: "ring_hash:key" is no policy written in Python\nhint: ring_hash is the engine\'s own',
        ),
        (
            ["--policy", "maglev:key=path"],
            'error: "maglev:key=path" is no policy written in Python\nhint: maglev is the engine\'s own',
        ),
        (
            ["--policy", "score"],
            'error: "score" is no policy written in Python\nhint: write "mymodule:score"',
        ),
        (["--policy", "nowhere:score"], "error: No module named 'nowhere'"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = steelyard(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert "\nhint: " in done.stderr
