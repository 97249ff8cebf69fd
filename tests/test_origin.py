"""The test origin as Python sees it; `crates/steelyard-origin/tests` covers each behaviour."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from steelyard.origin import Origin


def test_an_origin_serves_and_counts() -> None:
    with Origin(name="a", body_bytes=10) as origin:
        answer = httpx.get(f"{origin.url}/anything")
        assert (answer.status_code, answer.text, answer.headers["x-origin"]) == (200, "hello from", "a")
        assert origin.stats()["requests"] == 1


def test_a_closed_origin_resets_its_connections_and_frees_its_port() -> None:
    origin = Origin()
    with socket.create_connection((origin.host, origin.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        origin.close()
        origin.close()
        with pytest.raises(ConnectionResetError):
            client.makefile("rb").read()
        with Origin(port=origin.port, name="again") as heir:
            assert httpx.get(heir.url).headers["x-origin"] == "again"


def test_a_port_in_use_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            Origin(port=port)


def test_an_option_that_makes_no_sense_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no duration"):
        Origin(delay="fast")
    with pytest.raises(ValueError, match="no fault"):
        Origin(fault="fire")


def command(*arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", "from steelyard.origin import main; main()", *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_ends_on_a_signal(tmp_path: Path, number: int) -> None:
    port_file = tmp_path / "port"
    with command("--name", "cli", "--port-file", os.fspath(port_file)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"listening on 127.0.0.1:{port_file.read_text().strip()}\n"
        assert httpx.get(f"http://{line.split()[-1]}/").headers["x-origin"] == "cli"
        process.send_signal(number)
        assert process.wait(timeout=20) == 0


def test_the_command_refuses_what_it_does_not_know() -> None:
    with command("--listen", "nowhere") as process:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "invalid socket address" in errors
        assert "usage: steelyard-origin" in errors
