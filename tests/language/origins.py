"""Real origins, on native threads of this process or in a process of their own."""

import json
import signal
import subprocess
import sys
from typing import Any, Self

from language.client import request
from language.scope import keep


class Origin:
    """An origin in this process. What it is told before its first use shapes it; it starts when needed."""

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}
        self._core: Any = None
        self._last: dict[str, int] = {}

    # what it is like

    def named(self, name: str) -> Self:
        return self._set(name=name)

    def status(self, status: int) -> Self:
        return self._set(status=status)

    def slow(self, delay_ms: int) -> Self:
        return self._set(delay=f"{delay_ms}ms")

    def concurrency(self, requests: int) -> Self:
        return self._set(concurrency=requests)

    def fault(self, kind: str) -> Self:
        """Every request is answered as the path /`kind` would be: "reset", "hang", "short/10", ..."""
        return self._set(fault=kind)

    def body_bytes(self, count: int) -> Self:
        return self._set(body_bytes=count)

    def closes_idle_after(self, time_ms: int) -> Self:
        return self._set(idle_timeout=f"{time_ms}ms")

    # running

    def start(self) -> Self:
        if self._core is None:
            # Imported late, so that the language itself can be tried without the extension.
            from steelyard import _core

            self._core = _core.Origin.start(json.dumps(self._options))
            self._set(listen=f"127.0.0.1:{self._core.port}")
            keep(self)
        return self

    @property
    def port(self) -> int:
        if "listen" not in self._options:
            self.start()
        return int(self._options["listen"].rpartition(":")[2])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """What it calls itself in x-origin."""
        return self._options.get("name") or str(self.port)

    def listening(self, listener: str = "") -> tuple[str, int]:
        return "127.0.0.1", self.port

    def now(self, control: str) -> Self:
        """Changes it while it runs: "health/down", "fault/reset", "fault/off", "delay/10ms"."""
        assert request(self, "POST", f"/control/{control}").status == 200
        return self

    def stats(self) -> dict[str, int]:
        if self._core is not None:
            self._last = json.loads(self._core.stats())
        return self._last

    @property
    def requests(self) -> int:
        return self.stats()["requests"]

    @property
    def in_flight(self) -> int:
        return self.stats()["in_flight"]

    @property
    def connections(self) -> int:
        return self.stats()["connections"]

    def die(self) -> None:
        """Its port is closed and every connection reset. `start` brings it back on the same port."""
        self.stats()
        if self._core is not None:
            self._core.close()
            self._core = None

    def close(self) -> None:
        self.die()

    def _set(self, **options: Any) -> Self:
        self._options |= options
        return self


class ProcessOrigin:
    """An origin in a process of its own, for what only a process can suffer."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-c", "from steelyard.origin import main; main()", *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("listening on "), line
        self.address = line.split()[-1]
        self.port = int(self.address.rpartition(":")[2])

    def listening(self, listener: str = "") -> tuple[str, int]:
        return "127.0.0.1", self.port

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()


def origin() -> Origin:
    return Origin()


def process_origin(*flags: str) -> ProcessOrigin:
    return keep(ProcessOrigin(*flags))
