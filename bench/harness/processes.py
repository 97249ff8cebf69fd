"""Starting programs on one core, and reading what a whole process tree has used."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PROXY_CORE = 0
LOAD_CORE = 1

T = TypeVar("T")

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_DEADLINE_S = 30.0
ANSWER_DEADLINE_S = 15.0
STOP_DEADLINE_S = 10.0
SETTLE_S = 0.25


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of a process tree. `total` is exact; how it splits into user and system is sampled."""

    user: float
    system: float
    total: float

    def since(self, earlier: "Cpu") -> "Cpu":
        user, system = self.user - earlier.user, self.system - earlier.system
        total = self.total - earlier.total
        scale = total / (user + system) if user + system > 0 else 0.0
        return Cpu(user=user * scale, system=system * scale, total=total)


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    pids = [pid]
    for parent in pids:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in thread.read_text().split()]
    return pids


def cpu(pid: int) -> Cpu:
    """What the tree has used so far: all threads and children, those that have ended too.

    The scheduler's own nanoseconds give the total of the living threads; clock ticks (10 ms) give the rest.
    """
    user = system = total = 0.0
    for process in tree(pid):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        own_user, own_system, ended_user, ended_system = (int(field) * TICK_S for field in fields[11:15])
        user += own_user + ended_user
        system += own_system + ended_system
        total += _scheduled(process, otherwise=own_user + own_system) + ended_user + ended_system
    return Cpu(user=user, system=system, total=total)


def _scheduled(pid: int, *, otherwise: float) -> float:
    try:
        threads = [path.read_text().split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:
        return otherwise
    return sum(map(int, threads)) / 1e9 if threads else otherwise


def resident_kib(pid: int) -> int:
    """Resident memory of the tree."""
    page_kib = os.sysconf("SC_PAGE_SIZE") // 1024
    return sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in tree(pid)) * page_kib


def core_busy_s(core: int) -> float:
    """Seconds a core has been busy, with whatever it was."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) * TICK_S
    raise LookupError(f"no cpu{core} in /proc/stat")


@contextlib.contextmanager
def running(command: Sequence[str], *, core: int, folder: Path, name: str) -> Iterator[int]:
    """Runs a program on one core until the block ends; what it says goes to `NAME.log` in the folder."""
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command], cwd=folder, stdout=log, stderr=log
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended by itself ({process.returncode}): see {folder / name}.log")
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def settle(pid: int) -> None:
    """Waits until a program that has just started is done with that, and hardly uses its core any more."""
    deadline = time.monotonic() + START_DEADLINE_S
    before = cpu(pid).total
    while time.monotonic() < deadline:
        time.sleep(SETTLE_S)
        now = cpu(pid).total
        if now - before < SETTLE_S / 50:
            return
        before = now


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, for programs that cannot choose one themselves."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


class Unanswered(Exception):
    """Nothing answers, or not as it should."""


def wait_for(attempt: Callable[[], T], *, pid: int, log: Path) -> T:
    """Tries until there is an answer, and returns it; gives up when the process has ended."""
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while True:
        try:
            return attempt()
        except Unanswered as problem:
            if time.monotonic() > deadline or _has_ended(pid):
                said = log.read_text(errors="replace").strip() if log.exists() else ""
                raise Unanswered(f"{problem}; its log says: {said}") from problem
        time.sleep(0.02)


def wait_for_200(port: int, path: str, *, pid: int, log: Path) -> bytes:
    """Asks until the answer is 200, and returns its body; gives up when the process has ended."""
    return wait_for(lambda: _body(port, path), pid=pid, log=log)


def _body(port: int, path: str) -> bytes:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": "bench.example"})
            answer = connection.getresponse()
            body = answer.read()
    except (OSError, http.client.HTTPException) as problem:
        raise Unanswered(f"nothing answers on port {port}: {problem}") from problem
    if answer.status != 200:
        raise Unanswered(f"port {port} answers {answer.status}")
    return body


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
