"""The engine over its life, as Python drives it: start, change, stop, and what it refuses."""

import errno
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from language import client, eventually, origin, proxy, raw, refused_address, scripted
from language.proxies import OPTIONS
from steelyard import _core


def threads() -> list[str]:
    """The names of the native threads of this process."""
    return sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))


class TestAStart:
    def test_says_what_it_is_made_of(self) -> None:
        info = json.loads(_core.build_info())
        assert info["version"] == _core.VERSION
        assert info["profile"] in ("debug", "release")

    def test_carries_requests_and_counts_them(self) -> None:
        one = origin()
        running = proxy().pool(one).start()
        assert client(running).get("/").status == 200
        eventually(lambda: running.endpoint(one)["requests"] == 1)
        assert running.status()["generation"] == 1
        assert running.verdict(one) == "healthy"

    def test_tells_every_problem_of_a_document(self) -> None:
        plan = proxy().pool("127.0.0.1:1", policy="nonsense").listener(bind=["localhost:80"])
        with pytest.raises(_core.DocumentError) as refused:
            plan.start()
        paths = [problem["path"] for problem in json.loads(refused.value.args[0])]
        assert sorted(paths) == [["listeners", "web", "bind", 0], ["pools", "app", "policy"]]

    def test_names_the_listener_whose_address_is_taken(self) -> None:
        before = threads()
        holder = scripted()
        with pytest.raises(_core.BindError) as refused:
            proxy().pool("127.0.0.1:1").listener(bind=["127.0.0.1:0", holder.address]).start()
        error = refused.value
        assert (error.errno, error.filename, error.filename2) == (errno.EADDRINUSE, "web", holder.address)
        assert threads() == before

    def test_is_refused_on_the_address_of_another_engine(self) -> None:
        first = proxy().pool("127.0.0.1:1").workers(2).start()
        second = proxy().pool("127.0.0.1:1").workers(2).listener(bind=[f"127.0.0.1:{first.port}"])
        with pytest.raises(_core.BindError):
            second.start()
        first.close()
        second.start()

    def test_refuses_an_option_it_does_not_know(self) -> None:
        with pytest.raises(ValueError, match="unknown field"):
            _core.Engine.start(proxy().pool("127.0.0.1:1").json(), json.dumps({**OPTIONS, "speed": "high"}))


class TestAChange:
    def test_keeps_the_port_and_the_counts(self) -> None:
        one = origin()
        plan = proxy().pool(one)
        running = plan.start()
        port = running.port
        assert client(running).get("/").status == 200
        assert running.apply(plan) == 2
        assert running.port == port
        assert running.endpoint(one)["requests"] == 1

    def test_that_fails_leaves_the_old_one_in_force(self) -> None:
        one = origin()
        running = proxy().pool(one).start()
        holder = scripted()
        with pytest.raises(_core.BindError):
            running.apply(proxy().pool("127.0.0.1:1").listener(bind=["127.0.0.1:0", holder.address]))
        with pytest.raises(_core.DocumentError, match="the number of workers cannot change"):
            running.apply(proxy().pool(one).workers(3))
        assert running.status()["generation"] == 1
        assert client(running).get("/").status == 200

    def test_adds_and_removes_listeners(self) -> None:
        one = origin()
        running = proxy().pool(one).listener("web").start()
        running.apply(proxy().pool(one).listener("web").listener("other"))
        other = running.listening("other")
        assert client(running, listener="other").get("/").status == 200
        running.apply(proxy().pool(one).listener("web"))
        eventually(lambda: is_refused(other))
        assert client(running).get("/").status == 200

    def test_resolves_names(self) -> None:
        one = origin()
        port = one.address.rpartition(":")[2]
        running = proxy().pool(f"localhost:{port}").start()
        assert client(running).get("/").status == 200
        assert {found["configured"] for found in running.pool()["endpoints"]} == {f"localhost:{port}"}


class TestProbes:
    def test_decide_and_say_why(self) -> None:
        up, down, gone = origin(), origin().status(503), refused_address()
        running = proxy().pool(up, down, gone, health={"interval_ms": 60_000, "path": "/"}).start()
        eventually(lambda: running.verdict(up) == "healthy")
        eventually(lambda: running.verdict(down) == running.verdict(gone) == "unhealthy")
        assert running.endpoint(down)["why"] == "probe: 503, expected 200-399"
        assert running.endpoint(gone)["why"] == "probe: connection refused"

    def test_bring_an_endpoint_back(self) -> None:
        one = origin()
        health = {"interval_ms": 20, "timeout_ms": 20, "path": "/healthz", "rise": 2, "fall": 2}
        running = proxy().pool(one, health=health).start()
        eventually(lambda: running.verdict(one) == "healthy")
        one.now("health/down")
        eventually(lambda: running.verdict(one) == "unhealthy")
        one.now("health/up")
        eventually(lambda: running.verdict(one) == "healthy")


class TestTheEnd:
    def test_drains_at_once_when_nothing_is_in_flight(self) -> None:
        running = proxy().pool(origin()).drain_timeout(3_600_000).start()
        idle = raw(running)
        idle.get().expect_response(200)
        running.stop()
        running.expect_stopped()
        idle.expect_closed()
        with pytest.raises(RuntimeError, match="has been stopped"):
            running.apply(proxy().pool("127.0.0.1:1"))

    def test_drains_no_longer_than_it_may(self) -> None:
        hanging = scripted()
        running = proxy().pool(hanging).drain_timeout(200).start()
        raw(running).send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: running.in_flight() == 1)
        running.stop()
        running.expect_stopped()

    def test_joins_every_thread(self) -> None:
        before = threads()
        running = proxy().pool("127.0.0.1:1").workers(3).start()
        ours = ["control", "worker-0", "worker-1", "worker-2"]
        # A new thread gives itself its name.
        eventually(lambda: [name for name in threads() if name not in before] == ours)
        running.close()
        running.close()
        assert threads() == before

    def test_lets_python_run_while_it_waits(self) -> None:
        running = proxy().pool("127.0.0.1:1").start()
        told: list[str | None] = []
        waiter = threading.Thread(target=lambda: told.append(running.engine.wait(3600.0)))
        waiter.start()
        running.stop(now=True)
        waiter.join(30)
        assert told == ["stopped"]

    def test_comes_by_signal_and_the_process_with_it(self) -> None:
        spawned = proxy().pool("127.0.0.1:1").spawn()
        spawned.send_signal(signal.SIGTERM)
        assert spawned.expect_exit() == 0

    def test_comes_though_the_interpreter_is_stuck(self) -> None:
        spawned = proxy().pool("127.0.0.1:1").spawn()
        spawned.block_the_interpreter()
        spawned.send_signal(signal.SIGINT)
        assert spawned.expect_exit() == 0


class TestAFork:
    def test_refuses_use_and_holds_no_socket(self) -> None:
        script = f"""
import json, os, socket
from steelyard import _core
engine = _core.Engine.start({proxy().pool("127.0.0.1:1").workers(2).json()!r}, "{{}}")
host, port = json.loads(engine.status())["listeners"][0]["bind"][0].split(":")
client = socket.create_connection((host, int(port)), timeout=20)
client.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
assert client.recv(12) == b"HTTP/1.1 502"
asked, asking = os.pipe()
begun, begins = os.pipe()
child = os.fork()
if child == 0:
    os.write(begins, b".")
    try:
        engine.status()
    except RuntimeError as error:
        assert "fork" in str(error)
    else:
        os._exit(1)
    engine.close()
    del engine
    os.close(asking)
    os.read(asked, 1)
    os._exit(0)
os.read(begun, 1)
engine.close()
inodes = {{os.readlink(f"/proc/{{child}}/fd/{{fd}}") for fd in os.listdir(f"/proc/{{child}}/fd")}}
rows = [row.split() for row in open("/proc/net/tcp").read().splitlines()[1:]]
listening = [row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{{int(port):04X}}")]
held = any(f"socket:[{{inode}}]" in inodes for inode in listening)
print("the child still listens" if held else "nobody listens")
while client.recv(4096):
    pass
print("the connection has ended")
os.close(asking)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        assert run(script) == ["nobody listens", "the connection has ended", "0"]


def test_an_engine_left_open_ends_with_the_interpreter() -> None:
    script = f"""
from steelyard import _core
engine = _core.Engine.start({proxy().pool("127.0.0.1:1").json()!r}, "{{}}")
print("started")
"""
    assert run(script) == ["started"]


def run(script: str) -> list[str]:
    """What a program prints, which must end well."""
    arguments = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split("\n")[:-1]


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False
