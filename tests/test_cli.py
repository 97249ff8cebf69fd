"""What a person at a terminal gets: messages, exit codes, and what is printed where."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard import __version__, config
from steelyard.cli import logs, steer
from steelyard.config.show import value_of

GOOD = 'listen = "127.0.0.1:0"\nendpoints = ["127.0.0.1:9"]\n'
COMMANDS = [
    "run", "demo", "init", "check", "simulate", "reload", "status", "drain", "undrain", "weight", "policy",
    "version",
]  # fmt: skip
SMALL_SCENARIO = """requests = 2000
policies = ["random"]
[arrivals]
kind = "poisson"
rate = 100
[service]
kind = "constant"
mean = "10ms"
[[endpoints]]
count = 4
"""
MAIN = "from steelyard.cli import main; main()"


def steelyard(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STEELYARD_")}
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**inherited, "COLUMNS": "100", **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [[], *([one] for one in COMMANDS)])
def test_every_command_has_help(command: list[str], tmp_path: Path) -> None:
    for flag in ("-h", "--help"):
        done = steelyard(*command, flag, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: " in done.stdout


def test_help_names_every_command_in_its_group(tmp_path: Path) -> None:
    shown = steelyard("-h", cwd=tmp_path).stdout
    for group in ("Carry traffic", "Configuration", "Try a policy", "A running instance", "About"):
        assert group in shown
    for command in COMMANDS:
        assert f" {command} " in shown


@pytest.mark.parametrize("arguments", [["bogus"], ["check", "--bogus"], ["weight", "x"], ["check", "a", "b"]])
def test_wrong_usage_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    done = steelyard(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr


def test_version(tmp_path: Path) -> None:
    assert steelyard("--version", cwd=tmp_path).stdout == f"steelyard {__version__}\n"
    facts = json.loads(steelyard("version", "--json", cwd=tmp_path).stdout)
    assert facts["steelyard"] == __version__
    assert {"profile", "allocator", "python", "tls"} <= set(facts)
    assert f"steelyard  {__version__}" in steelyard("version", cwd=tmp_path).stdout


def test_check_says_which_file_is_sound(tmp_path: Path) -> None:
    (tmp_path / "steelyard.toml").write_text(GOOD)
    done = steelyard("check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "steelyard.toml is sound: 1 listener, 1 pool, 1 endpoint\n"


def test_check_finds_the_file_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(GOOD)
    done = steelyard("check", cwd=tmp_path, STEELYARD_CONFIG="other.toml")
    assert done.stdout.startswith("other.toml is sound")


def test_check_show_prints_a_configuration_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "steelyard.toml").write_text(GOOD)
    done = steelyard("check", "--show", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == "steelyard.toml is sound; with every default it is:\n"
    assert config.load_text(done.stdout) == config.load_text(GOOD)


def test_check_tells_every_mistake_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(GOOD + 'polcy = "x"\nworkers = 0\n')
    done = steelyard("check", "bad.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'bad.toml:3:1: polcy: unknown key\nhint: did you mean "policy"?\n'
        'bad.toml:4:1: workers: expected "auto" or a number of threads\n'
        'hint: from 1 to 1024; "auto" is one for each core\n'
    )


WEIGHED = """\
[listeners.web]
bind = ["127.0.0.1:0"]
[pools.app]
policy = {policy}
endpoints = [{{ address = "127.0.0.1:9", weight = {first} }}, {{ address = "[::1]:9", weight = {second} }}]
"""


@pytest.mark.parametrize(
    ("policy", "weights", "warned"),
    [
        ("random", (3, 1), 'warning: c.toml:4:1: pools.app.policy: "random" takes every endpoint as often'),
        ("join_idle_queue", (3, 1), 'warning: c.toml:4:1: pools.app.policy: "join_idle_queue" looks at'),
        ("random", (3, 3), ""),
        ("random", (1, 0), ""),
        *((name, (3, 1), "") for name in config.POLICIES if name not in ("random", "join_idle_queue")),
    ],
)
def test_weights_that_a_policy_does_not_look_at_are_told(
    policy: str, weights: tuple[int, int], warned: str, tmp_path: Path
) -> None:
    settings = {"name": policy}
    if policy in ("ring_hash", "maglev", "rendezvous", "bounded_hash"):
        settings["key"] = "path"
    if policy == "sticky":
        (tmp_path / "secret").write_text("x" * 32)
        (tmp_path / "secret").chmod(0o600)
        settings["secret_file"] = "secret"
    written = "{ " + ", ".join(f'{key} = "{value}"' for key, value in settings.items()) + " }"
    text = WEIGHED.format(policy=written, first=weights[0], second=weights[1])
    (tmp_path / "c.toml").write_text(text)
    done = steelyard("check", "c.toml", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith(warned) if warned else done.stderr == ""


def test_a_scenario_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('arrivals = { kind = "poisson", rate = 2.0 }\nrequests = 5\n')
    done = steelyard("check", "s.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "s.toml: this is a scenario, no configuration\nhint: steelyard simulate s.toml runs it\n"
    )


def test_check_json(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(GOOD + "foo = 1\n")
    good = steelyard("check", "good.toml", "--show", "--json", cwd=tmp_path)
    assert json.loads(good.stdout)["effective"]["listeners"]["web"]["bind"] == ["127.0.0.1:0"]
    bad = steelyard("check", "bad.toml", "--json", cwd=tmp_path)
    assert bad.returncode == 2
    (problem,) = json.loads(bad.stdout)["problems"]
    assert (problem["file"], problem["line"], problem["column"], problem["key"]) == ("bad.toml", 3, 1, "foo")


def test_no_configuration_says_where_it_was_looked_for(tmp_path: Path) -> None:
    done = steelyard("run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: there is no configuration; looked at $STEELYARD_CONFIG, ./steelyard.toml, "
        "/etc/steelyard/steelyard.toml\nhint: steelyard init writes one\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--listen", ":80"], "error: --listen needs --to\n"),
        (["run", "--to", "a:1"], "error: --to needs --listen\n"),
        (["run", "--health", "/"], "error: --health needs --listen and --to\n"),
        (["run", "x.toml", "--to", "a:1"], "error: --to cannot be used beside a file\n"),
        (
            ["run", "--listen", ":0", "--to", "127.0.0.1"],
            'command line: --to: "127.0.0.1" has no port\nhint: write "127.0.0.1:8080"\n',
        ),
        (
            ["run", "--listen", ":0", "--to", "a:1", "--policy", "least_reqest"],
            'command line: --policy: unknown policy "least_reqest"\nhint: did you mean "least_request"?\n',
        ),
        (
            ["run", "--listen", ":0", "--to", "a:1", "--policy", "maglev:key=path,table_size=10"],
            "command line: --policy: table_size: 10 is no prime\nhint: the next one is 11\n",
        ),
        (
            ["run", "--listen", ":0", "--to", "a:1", "--policy", "maglev"],
            "command line: --policy: maglev needs a key: what ties requests together\n"
            "hint: write --policy 'maglev:key=address'\n",
        ),
        (
            ["run", "--listen", ":0", "--to", "a:1", "--policy", "maglev:key='path"],
            "error: the quote that the value of key begins with is not closed: 'path\n",
        ),
        (["run", "--listen", ":0", "--to", "a:1", "--watch"], "error: --watch needs a file to watch\n"),
        (["weight", "a:1", "heavy"], 'error: "heavy" is no weight\n'),
        (["weight", "a:1", "-1"], 'error: "-1" is no weight\n'),
        (["weight", "a:1", "9" * 5_000], f'error: "{"9" * 5_000}" is no weight\n'),
    ],
)
def test_arguments_that_make_no_sense_end_with_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = steelyard(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)


@pytest.mark.parametrize("command", [["status"], ["reload"], ["drain", "a:1"], ["policy", "app", "random"]])
def test_without_an_instance_clients_say_what_they_tried(command: list[str], tmp_path: Path) -> None:
    places = {
        "RUNTIME_DIRECTORY": f"{tmp_path}/service",
        "XDG_RUNTIME_DIR": f"{tmp_path}/session",
        "TMPDIR": str(tmp_path),
    }
    done = steelyard(*command, cwd=tmp_path, **places)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no running instance was found; tried\n")
    for place in (
        f"{tmp_path}/service",
        f"{tmp_path}/session/steelyard",
        f"{tmp_path}/steelyard-{os.geteuid()}",
    ):
        assert f"  {place}/admin.sock: no such file\n" in done.stderr
    named = steelyard(*command, "--socket", "here.sock", cwd=tmp_path, **places)
    assert "tried\n  here.sock: no such file\nhint: " in named.stderr


AS_NOBODY = """
import os, sys
import httpx, steelyard.cli.run, steelyard.cli.check, steelyard.cli.steer, steelyard.cli.demo
import steelyard.admin.server
from contextlib import redirect_stderr
from io import StringIO
from steelyard.cli import main
from steelyard.cli.output import report
from steelyard.errors import SteelyardError
with redirect_stderr(StringIO()):
    report(SteelyardError("what is printed with is loaded as well"))
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
main()
"""


def as_nobody(*arguments: str, cwd: str = "/", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user without privileges; it is loaded before they go, wherever it lies."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder into which nobody else may look."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        inner = Path(folder) / "closed"
        Path(folder).chmod(0o1777)
        inner.mkdir(mode=0o700)
        yield inner
        inner.chmod(0o700)


def test_a_runtime_folder_of_somebody_else_is_passed_over(closed: Path) -> None:
    listen = f"unix:{closed.parent}/none/web.sock"
    places = {"XDG_RUNTIME_DIR": str(closed), "TMPDIR": str(closed.parent)}
    if os.geteuid() != 0:
        closed.chmod(0o000)
    done = as_nobody("run", "--listen", listen, "--to", "127.0.0.1:9", **places)
    # It has found a place for the admin socket, and goes on to what cannot be bound.
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot listen on {listen}")
    asked = as_nobody("status", **places)
    assert asked.returncode == 1
    assert f"  {closed}/steelyard/admin.sock: permission denied\n" in asked.stderr
    nowhere = as_nobody("status", XDG_RUNTIME_DIR=str(closed), TMPDIR=str(closed))
    assert nowhere.stderr.startswith("error: no running instance was found; tried\n")


def test_a_configuration_that_cannot_be_looked_for_is_refused_as_unreadable(closed: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a folder cannot be entered first and closed afterwards without privileges")
    done = as_nobody("check", cwd=str(closed))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("steelyard.toml: permission denied\nhint: ")


def test_a_privileged_port_is_refused_with_the_remedy() -> None:
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= 1:
        pytest.skip("this machine lets anyone bind any port; the message is tested in test_control.py")
    port = first_free - 1
    done = as_nobody("run", "--listen", f"127.0.0.1:{port}", "--to", "127.0.0.1:9", "--socket", "off")
    assert (done.returncode, done.stdout) == (1, "")
    where = f'127.0.0.1:{port} for listener "web" of the command line'
    assert done.stderr.startswith(f"error: cannot listen on {where}: permission denied\n")
    assert "hint: ports below 1024 need a privilege" in done.stderr
    assert "CAP_NET_BIND_SERVICE" in done.stderr


def test_a_unix_socket_where_this_user_may_not_write_is_refused_with_its_own_remedy() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        done = as_nobody(
            "run", "--listen", f"unix:{folder}/web.sock", "--to", "127.0.0.1:9", "--socket", "off"
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("permission denied\nhint: choose a directory that this user may write to\n")


def test_an_unreadable_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = Path("/tmp") / f"steelyard-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        secret = folder / "steelyard.toml"
        secret.touch(mode=0o000)
        done = as_nobody("check", str(secret))
    finally:
        secret.unlink()
        folder.rmdir()
    assert done.stderr == (
        f"{secret}: permission denied\nhint: the user that runs steelyard must be able to read it\n"
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_name_in_a_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "steelyard.toml").write_text(GOOD + '"a\\u001b[31m\\u009b" = 1\n')
    done = steelyard("check", cwd=tmp_path)
    assert done.returncode == 2
    assert "steelyard.toml:3:1: a\\x1b[31m\\x9b: unknown key" in done.stderr
    assert not {"\x1b", "\x9b"} & set(done.stderr)


STEERS = "\x1b[31mred\x9b2J\x7f\u202e"
SHOWN = r"\x1b[31mred\x9b2J\x7f\u202e"


def safe(text: str) -> bool:
    return all(one == "\n" or one.isprintable() for one in text)


def test_a_file_s_name_cannot_steer_the_terminal_from_standard_output(tmp_path: Path) -> None:
    (tmp_path / f"{STEERS}.toml").write_text(GOOD)
    done = steelyard("check", f"{STEERS}.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout.partition(" is sound")[0]) == (0, f"{SHOWN}.toml")
    assert safe(done.stdout)
    assert safe(steelyard("init", f"x{STEERS}.toml", cwd=tmp_path).stdout)
    as_json = steelyard("check", f"{STEERS}.toml", "--json", cwd=tmp_path).stdout
    assert safe(as_json)
    assert json.loads(as_json)["config"] == f"{STEERS}.toml"


def test_what_check_shows_steers_no_terminal_and_is_read_back() -> None:
    words = f"a{STEERS}\U000e0001 und ein ä"
    shown = value_of({words: words})
    assert safe(shown)
    assert tomllib.loads(f"x = {shown}")["x"] == {words: words}


def answers(**changes: Any) -> dict[str, Any]:
    """What an instance might say whose names were chosen to steer the terminal of whoever asks."""
    endpoint = {
        "configured": "[fe80::1]:80", "address": STEERS, "verdict": "healthy", "why": STEERS, "weight": 1,
        "in_flight": 0, "requests": 0, "failures": 0, "retries": 0, "bytes_in": 0, "bytes_out": 0,
        "smoothed_s": None, "p50_s": None, "p99_s": None, "starting": None, "over_threshold": None,
    }  # fmt: skip
    pool = {
        "name": STEERS, "policy": STEERS, "queued": 0, "queue_timeouts": 0, "tls": None, "levels": [],
        "panic": False, "fail_open": False, "endpoints": [endpoint], "without_address": [STEERS],
    }  # fmt: skip
    certificate = {"file": STEERS, "names": [STEERS], "not_after": STEERS, "days_left": 1}
    tls = {"handshakes": 0, "resumed": 0, "failures": 0, "certificates": [certificate]}
    listener = {
        "name": STEERS, "bind": [STEERS], "connections": 0, "requests": 0, "bad_requests": 0, "tls": tls
    }  # fmt: skip
    overlay = {
        "drained": [{"pool": STEERS, "address": STEERS, "waiting": True}],
        "weights": [],
        "policies": [{"pool": STEERS, "policy": STEERS, "waiting": False}],
    }
    acme = {"name": STEERS, "state": "failing", "not_after": STEERS, "error": STEERS, "next_try": STEERS}
    return {
        "version": "1", "pid": 1, "state": "running", "uptime_s": 1.0, "generation": 1, "workers": 1,
        "config": STEERS, "listeners": [listener], "acme": [acme], "pools": [pool], "overlay": overlay,
        "notices": [STEERS], "pool": STEERS, "address": STEERS, **changes,
    }  # fmt: skip


class Answering:
    """Stands in for the client of an instance that says all that."""

    def __init__(self, *_: Any) -> None:
        pass

    def get(self, *_: Any) -> dict[str, Any]:
        return answers()

    post = get


@pytest.mark.parametrize(
    "command",
    [
        lambda: steer.status(None, as_json=False),
        lambda: steer.status(None, as_json=True),
        lambda: steer.reload(None, as_json=False),
        lambda: steer.drain(None, STEERS, as_json=False),
        lambda: steer.undrain(None, STEERS, as_json=False),
        lambda: steer.weight(None, STEERS, "3", as_json=False),
        lambda: steer.policy(None, STEERS, STEERS, as_json=False),
    ],
    ids=["status", "status --json", "reload", "drain", "undrain", "weight", "policy"],
)
def test_what_an_instance_answers_cannot_steer_the_terminal(
    command: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steer, "AdminClient", Answering)
    command()
    shown = capsys.readouterr()
    assert safe(shown.out + shown.err)
    assert "red" in shown.out


def test_an_address_in_brackets_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steer, "AdminClient", Answering)
    steer.status(None, as_json=False)
    # To the library for tables this would be markup.
    assert "[fe80::1]:80 at " in capsys.readouterr().out


@pytest.mark.parametrize("formatter", [logs.TextFormatter, logs.JsonFormatter])
def test_a_line_of_the_log_cannot_steer_the_terminal(formatter: type[logging.Formatter]) -> None:
    record = logging.LogRecord("steelyard", logging.INFO, "", 1, "\U000e0001%s", (STEERS,), None)
    line = formatter().format(record)
    assert safe(line)
    if formatter is logs.JsonFormatter:
        assert json.loads(line)["message"] == f"\U000e0001{STEERS}"
    else:
        assert line.endswith(SHOWN)


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "ok.toml"],
        ["simulate", "ok.toml", "--json"],
        ["version"],
        ["check", "good.toml"],
        ["--help"],
    ],
)
def test_a_full_disk_under_the_results_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "ok.toml").write_text(SMALL_SCENARIO, encoding="utf-8")
    (tmp_path / "good.toml").write_text(GOOD, encoding="utf-8")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.stderr == "error: the results cannot be written: no space left on device\n"
    assert done.returncode == 1
