"""`steelyard run` as a process, and the commands that steer it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from language import Command, command, eventually, udp_client, udp_server
from steelyard.cli import complete

TWO_POOLS = """\
[listeners.web]
bind = ["127.0.0.1:0"]
pool = "app"
[pools.app]
endpoints = ["127.0.0.1:9", "127.0.0.2:9"]
health.interval = "off"
[pools.next]
endpoints = ["127.0.0.1:9"]
health.interval = "off"
"""
MAIN = "from steelyard.cli import main; main()"
WORDS = {"requests", "connections", "sessions", "connections/sessions"}


def running(text: str = TWO_POOLS) -> Command:
    started = command(text)
    started.expect_said("admin socket")
    return started


def status(instance: Command) -> dict[str, object]:
    answer: dict[str, object] = json.loads(instance.steelyard("status", "--json").stdout)
    return answer


def test_the_first_line_says_what_listens_with_which_file_and_where_it_is_steered() -> None:
    instance = running()
    lines = [json.loads(line) for line in instance.errors().splitlines()]
    (said,) = [line["message"] for line in lines if "listens" in line["message"]]
    assert f"configuration: {instance.file}" in said
    assert "web on 127.0.0.1:" in said
    assert "endpoints: 3; " in said
    assert f"admin socket: {instance.file.parent}/admin.sock" in said


def test_status_names_every_endpoint_with_its_verdict() -> None:
    instance = running()
    done = instance.steelyard("status")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "listener web on 127.0.0.1:",
        "pool app: least_request, 0 queued",
        "127.0.0.2:9",
        "in flight",
        "p99",
    ):
        assert words in done.stdout


def test_status_tells_of_sessions_and_datagrams() -> None:
    server = udp_server("", lambda datagram: [datagram, b"more"])
    # Each worker makes room among its own sessions.
    text = f"""\
workers = 1
[listeners.dns]
bind = ["127.0.0.1:0"]
protocol = "udp"
pool = "dns"
limits.connections = 1
[pools.dns]
endpoints = ["{server.address}"]
"""
    instance = running(text)
    (dns,) = json.loads(instance.steelyard("status", "--json").stdout)["listeners"]
    host, _, port = dns["bind"][0].rpartition(":")
    clients = [udp_client((host, int(port))) for _ in range(2)]
    for client in clients:
        assert [client.ask(b"12345678"), client.receive()] == [b"12345678", b"more"]
    line = f"listener dns on {host}:{port}: 1 session, 2 datagrams (16 B) in, 4 (24 B) out, 1 session ended"
    eventually(lambda: f"{line} to make room\n" in instance.steelyard("status").stdout)
    clients[1].ask(b"1")
    udp_client((host, int(port))).send(b"turned away")
    eventually(lambda: ", 1 dropped (sessions: 1)\n" in instance.steelyard("status").stdout)


def test_status_calls_what_is_carried_by_its_name() -> None:
    text = """\
workers = 1
[listeners]
web = { bind = ["127.0.0.1:0"], pool = "app" }
db = { bind = ["127.0.0.1:0"], protocol = "tcp", pool = "db" }
dns = { bind = ["127.0.0.1:0"], protocol = "udp", pool = "dns" }
names = { bind = ["127.0.0.1:0"], protocol = "tcp", pool = "dns" }
[pools]
"""
    pools = [
        f'{name} = {{ endpoints = ["127.0.0.2:9"], health.interval = "off" }}\n'
        for name in ("app", "db", "dns")
    ]
    instance = running(text + "".join(pools))
    shown = instance.steelyard("status").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("listener db on ")]
    assert line.endswith(": 0 connections, 0 since the start, 0 bad")
    said = {}
    for part in shown.split("\npool ")[1:]:
        name, _, rest = part.partition(":")
        said[name] = [word for word in rest.split() if word in WORDS]
    assert said == {"app": ["requests"], "db": ["connections"], "dns": ["connections/sessions"]}
    answer = json.loads(instance.steelyard("status", "--json").stdout)
    protocols = {one["name"]: one["protocol"] for one in answer["listeners"]}
    assert protocols == {"web": "http", "db": "tcp", "dns": "udp", "names": "tcp"}
    assert [one["protocols"] for one in answer["pools"]] == [["http"], ["tcp"], ["tcp", "udp"]]


def test_what_status_shows_and_the_shell_offers_is_what_commands_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance = running(TWO_POOLS.replace('"127.0.0.2:9"', '"LocalHost:7"'))
    monkeypatch.setenv("STEELYARD_SOCKET", str(instance.file.parent / "admin.sock"))
    eventually(lambda: "localhost:7 at 127.0.0.1:7" in instance.steelyard("status").stdout, "it is resolved")
    assert complete.endpoints("") == ["localhost:7", "app/127.0.0.1:9", "app/localhost:7", "next/127.0.0.1:9"]
    assert complete.endpoints("ne") == ["next/127.0.0.1:9"]
    for name in complete.endpoints(""):
        done = instance.steelyard("drain", name)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_a_name_that_is_not_resolved_is_shown_and_offered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = running(TWO_POOLS.replace('"127.0.0.2:9"', '"none.invalid:7"'))
    monkeypatch.setenv("STEELYARD_SOCKET", str(instance.file.parent / "admin.sock"))
    assert "\nnone.invalid:7 has no address of its own" in instance.steelyard("status").stdout
    assert "none.invalid:7" in complete.endpoints("")
    assert instance.steelyard("drain", "none.invalid:7").returncode == 0


def test_changes_are_told_shown_and_survive_a_reload() -> None:
    instance = running()
    for arguments, words in [
        (("drain", "127.0.0.2:9"), "app/127.0.0.2:9 takes no new requests"),
        (("weight", "app/127.0.0.1:9", "5"), "app/127.0.0.1:9 weighs 5"),
        (("policy", "next", "random"), "next chooses by random"),
        (("reload",), f"reloaded {instance.file}"),
    ]:
        done = instance.steelyard(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(words)
    shown = instance.steelyard("status").stdout
    assert "changed at run time, over the file:\n  app/127.0.0.2:9 is drained\n" in shown
    assert "app/127.0.0.1:9 weighs 5\n  next chooses by random\n" in shown
    instance.steelyard("undrain", "127.0.0.2:9")
    instance.steelyard("weight", "app/127.0.0.1:9", "default")
    instance.steelyard("policy", "next", "default")
    assert "changed at run time" not in instance.steelyard("status").stdout


def test_what_is_drained_and_away_is_shown_offered_and_can_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = running()
    monkeypatch.setenv("STEELYARD_SOCKET", str(instance.file.parent / "admin.sock"))
    instance.steelyard("drain", "127.0.0.2:9")
    instance.write(TWO_POOLS.replace(', "127.0.0.2:9"', ""))
    assert instance.steelyard("reload").returncode == 0
    shown = instance.steelyard("status").stdout
    assert "  app/127.0.0.2:9 is drained, once it is in the file again\n" in shown
    assert complete.endpoints("127") == ["127.0.0.2:9"]
    done = instance.steelyard("undrain", "127.0.0.2:9")
    assert (done.returncode, done.stderr) == (0, "")
    assert "127.0.0.2:9" not in instance.steelyard("status").stdout


def test_a_change_that_makes_no_sense_ends_with_2() -> None:
    instance = running()
    for arguments, words in [
        (("drain", "127.0.0.1:9"), 'error: "127.0.0.1:9" stands in several pools\nhint: say which: app/'),
        (("drain", "127.0.0.9:9"), 'error: there is no endpoint "127.0.0.9:9"\nhint: the endpoints are app/'),
        (("policy", "app", "best"), 'error: unknown policy "best"\nhint: one of round_robin'),
        (("policy", "ap", "random"), 'error: there is no pool "ap"'),
        (("weight", "127.0.0.2:9", "99999999"), "error: the old configuration stays in force\n"),
    ]:
        done = instance.steelyard(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(words)


def test_a_reload_with_a_mistake_says_so_and_keeps_the_old_configuration() -> None:
    instance = running()
    before = status(instance)["generation"]
    instance.write("lisen = 1\n" + TWO_POOLS)
    done = instance.steelyard("reload")
    assert done.returncode == 2
    assert done.stderr == (
        "error: the old configuration stays in force\n"
        f'{instance.file}:1:1: lisen: unknown key\nhint: did you mean "listen"?\n'
    )
    assert status(instance)["generation"] == before


def test_a_reload_into_an_address_in_use_ends_with_1_as_run_does() -> None:
    instance = running()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        instance.write(TWO_POOLS.replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        done = instance.steelyard("reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the old configuration stays in force\ncannot listen on 127.0.0.1:")


def test_a_hangup_reloads_and_a_mistake_is_logged() -> None:
    instance = running()
    instance.write(TWO_POOLS.replace(', "127.0.0.2:9"', ""))
    instance.send_signal(signal.SIGHUP)
    instance.expect_said("as generation 2")
    assert "127.0.0.2:9" not in instance.steelyard("status").stdout
    instance.write("listen = 3")
    instance.send_signal(signal.SIGHUP)
    instance.expect_said("the old configuration stays in force")
    assert instance.process.poll() is None


def test_a_hangup_on_a_file_full_of_dates_ends_nothing() -> None:
    instance = running()
    instance.write("listen = 1979-05-27\nendpoints = [2020-01-01]\n" + TWO_POOLS)
    instance.send_signal(signal.SIGHUP)
    instance.expect_said("the short form does not go with")
    assert instance.process.poll() is None
    assert "Traceback" not in instance.errors()


def test_terminate_ends_with_0_and_takes_the_socket_away() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        instance = running()
        admin = instance.file.parent / "admin.sock"
        assert admin.exists()
        instance.send_signal(number)
        assert instance.expect_exit() == 0
        assert not admin.exists()


def test_a_second_instance_on_the_same_socket_or_address_is_refused() -> None:
    instance = running()
    again = instance.steelyard("run", str(instance.file))
    assert again.returncode == 1
    assert again.stderr.startswith("error: another instance already runs with the admin socket ")
    (web,) = json.loads(instance.steelyard("status", "--json").stdout)["listeners"]
    (address,) = web["bind"]
    taken = instance.steelyard("run", "--socket", "off", "--listen", address, "--to", "127.0.0.1:9")
    assert taken.returncode == 1
    where = f'{address} for listener "web" of the command line'
    assert f"error: cannot listen on {where}: address already in use\nhint: " in taken.stderr


def test_a_second_address_in_use_leaves_the_first_unbound(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        first, second = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        listen = ["--listen", f"127.0.0.1:{first}", "--listen", f"127.0.0.1:{second}"]
        command = [sys.executable, "-c", MAIN, "run", *listen, "--to", "127.0.0.1:9"]
        socket_path = tmp_path / "admin.sock"
        done = subprocess.run(
            [*command, "--socket", str(socket_path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{second}" in done.stderr
        assert not socket_path.exists()
        socket.create_server(("127.0.0.1", first)).close()


def test_watch_reloads_what_is_put_in_the_place_of_the_file(tmp_path: Path) -> None:
    file, admin = tmp_path / "steelyard.toml", tmp_path / "admin.sock"
    file.write_text(TWO_POOLS)
    arguments = ["run", str(file), "--watch", "--socket", str(admin)]
    with (tmp_path / "errors").open("w+") as errors:
        process = subprocess.Popen([sys.executable, "-c", MAIN, *arguments], stderr=errors)
        try:
            said = lambda words: eventually(  # noqa: E731 - one line, used here alone
                lambda: words in (tmp_path / "errors").read_text(), f"it says {words!r}"
            )
            said("admin socket")
            draft = tmp_path / "draft"
            draft.write_text(TWO_POOLS.replace('"127.0.0.2:9"', '"127.0.0.3:9"'))
            os.replace(draft, file)  # noqa: PTH105 - as editors do
            said("as generation 2")
            file.write_text("listen = 3")
            said("the old configuration stays in force")
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0
