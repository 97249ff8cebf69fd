"""A running proxy: in this process for speed, or in one of its own where the process matters."""

import json
import resource
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from language.waiting import eventually

if TYPE_CHECKING:
    from language.plan import Addressed, Plan
    from steelyard._core import Engine

OPTIONS: dict[str, Any] = {"signals": False, "seed": 7, "phase": "zero"}


class Views(ABC):
    """What the status says, asked for in the words of a test."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """All of it."""

    def listener(self, name: str = "web") -> dict[str, Any]:
        return named(self.status()["listeners"], name)

    def pool(self, name: str = "app") -> dict[str, Any]:
        return named(self.status()["pools"], name)

    def endpoint(self, at: "Addressed | str", pool: str = "app") -> dict[str, Any]:
        address = at if isinstance(at, str) else at.address
        (found,) = [one for one in self.pool(pool)["endpoints"] if one["address"] == address]
        return dict(found)

    def verdict(self, at: "Addressed | str", pool: str = "app") -> str:
        return str(self.endpoint(at, pool)["verdict"])

    def expect_to_live_on(self, for_s: float) -> None:
        """So much time passes for it."""
        until_s = self.status()["uptime_s"] + for_s
        eventually(lambda: self.status()["uptime_s"] > until_s)

    def in_flight(self) -> int:
        """Over all endpoints."""
        return sum(one["in_flight"] for pool in self.status()["pools"] for one in pool["endpoints"])

    def listening(self, listener: str = "web") -> tuple[str, int]:
        host, _, port = self.listener(listener)["bind"][0].rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self) -> int:
        return self.listening()[1]

    def expect_nothing_left(self, *, clients: int = 0) -> None:
        """Nothing is in flight or waits, and only idle connections are left, with so many clients."""

        def nothing_is_left() -> bool:
            status = self.status()
            assert sum(one["connections"] for one in status["listeners"]) == clients, status["listeners"]
            for pool in status["pools"]:
                assert pool["queued"] == 0, pool
                for one in pool["endpoints"]:
                    assert one["in_flight"] == 0, one
                    assert one["connections"] == one["idle_connections"], one
            return True

        eventually(nothing_is_left)


class Running(Views):
    """An engine on native threads of this process."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine

    @classmethod
    def start(cls, document: str) -> "Running":
        # Imported late, so that the language itself can be tried without the extension.
        from steelyard import _core

        return cls(_core.Engine.start(document, json.dumps(OPTIONS)))

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.engine.status())
        return status

    def apply(self, plan: "Plan", *, read_files: bool = True) -> int:
        """Puts another plan in force; returns its generation."""
        return int(json.loads(self.engine.apply(plan.json(), read_files))["generation"])

    def stop(self, *, now: bool = False) -> None:
        """Begins to drain, or stops at once."""
        self.engine.stop(now)

    def expect_stopped(self) -> None:
        eventually(lambda: self.engine.wait(0.1) == "stopped", "the engine has stopped")

    def close(self) -> None:
        panics = self.status()["panics"]
        self.engine.close()
        assert panics == 0, f"{panics} panics while it ran"


class SpawnedEngine(Views):
    """An engine in a process of its own, which heeds signals."""

    def __init__(self, document: str, *, descriptors: int | None, after_another: bool = False) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        self.process = subprocess.Popen(
            [sys.executable, "-m", "language.engine_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=Path(__file__).parent.parent,
            preexec_fn=limited_to(descriptors),
        )
        options = {**OPTIONS, "signals": True}
        self._begun = self._ask({"start": document, "options": options, "after_another": after_another})

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._ask({"ask": "status"})
        return status

    def listening(self, listener: str = "web") -> tuple[str, int]:
        """As it was at the start, so that it can be asked while the interpreter is stuck."""
        host, _, port = named(self._begun["listeners"], listener)["bind"][0].rpartition(":")
        return host.strip("[]"), int(port)

    def block_the_interpreter(self) -> None:
        """Its main thread enters a loop in C and never lets go of the interpreter lock."""
        self._ask({"ask": "block"})

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Its process stands still: whatever arrives meanwhile has arrived at once when it goes on."""
        self.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it stands still")
        yield
        self.send_signal(signal.SIGCONT)

    def expect_exit(self) -> int:
        return self.process.wait(timeout=60)

    def resident_bytes(self) -> int:
        return self._memory("VmRSS")

    def resident_bytes_max(self) -> int:
        """The most it ever was."""
        return self._memory("VmHWM")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def cpu_ticks(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def errors(self) -> str:
        """What it has written to standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        errors = self.errors()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            if pipe is not None:
                pipe.close()
        assert "panicked" not in errors, errors

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"the kernel tells no {name}")

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the engine's process has ended: {self.errors()}"
        return json.loads(line)


def named(things: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [one for one in things if one["name"] == name]
    return found


def limited_to(descriptors: int | None) -> Callable[[], None] | None:
    if descriptors is None:
        return None

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    return limit
