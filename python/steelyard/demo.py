"""The tour: five real origins, a real proxy, a real client, a failure and its repair.

The origins are processes, so that one can be killed for good and started again on its port. Each serves one
request at a time, as the servers of the founding article do, and the threshold of one request per endpoint
makes the proxy skip the busy ones.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from steelyard import config
from steelyard.control import ConfigSource, Control
from steelyard.errors import SteelyardError

__all__ = ["Demo", "Frame"]

ORIGINS = 5
CLIENTS = 10
SERVICE = "8ms"
FIRST_REQUESTS = 100
TOUR_REQUESTS = 4000
STOP_AFTER, START_AFTER = 800, 1800
START_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 10.0
TOUR_TIMEOUT_S = 40.0
QUIET_TIMEOUT_S = 5.0
FRAME_S = 0.2
RECENT = 200_000


class OriginProcess:
    """One origin, as a process. Started again it takes the port that it had."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = ["--listen", self.address, "--name", self.name, "--delay", SERVICE, "--concurrency", "1"]
        command = [sys.executable, "-c", "from steelyard.origin import main; main()", *options]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SteelyardError(f"{self.name} did not start: {command[0]}: {reason}") from error
        self._process = process
        # The first line says where it listens; a process that cannot start closes its output instead.
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening on "):
            self.kill()
            raise SteelyardError(f"{self.name} did not start: {line.strip() or 'it said nothing'}")
        self.address = line.removeprefix("listening on ").strip()

    def kill(self) -> None:
        """As a machine dies: at once, with whatever is in progress."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None


@dataclass
class Tally:
    """What the client saw. Kept by many threads, read by one."""

    served: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, origin: str, seconds: float) -> None:
        with self.lock:
            self.served[origin] += 1
            self.seconds.append(seconds)

    def add_error(self, what: str) -> None:
        with self.lock:
            self.errors[what] += 1

    @property
    def requests(self) -> int:
        return self.served.total() + self.errors.total()

    def as_json(self) -> dict[str, Any]:
        with self.lock:
            ordered = sorted(self.seconds)
            return {
                "requests": self.requests,
                "errors": self.errors.total(),
                "error_kinds": dict(self.errors),
                "served": dict(sorted(self.served.items())),
                "latency_s": {
                    "p50": percentile(ordered, 0.5),
                    "p90": percentile(ordered, 0.9),
                    "p99": percentile(ordered, 0.99),
                    "max": ordered[-1] if ordered else None,
                },
            }


def percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


class Client:
    """Clients on keep-alive connections, one thread each, until told to stop or `most` requests are sent."""

    def __init__(self, address: str, tally: Tally, *, most: int | None = None) -> None:
        self._address = address
        self._tally = tally
        self._left = most
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(REQUEST_TIMEOUT_S * 2)

    def _take(self) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=REQUEST_TIMEOUT_S)
        while not self._stop.is_set() and self._take():
            begin = time.perf_counter()
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self._tally.add_error(type(error).__name__)
                connection.close()
                continue
            if response.status == 200:
                self._tally.add(response.headers.get("x-origin", "?"), time.perf_counter() - begin)
            else:
                self._tally.add_error(str(response.status))
        connection.close()


@dataclass(frozen=True)
class Step:
    """Something that happens on the way, once it is due."""

    event: str
    due: Callable[[], bool]
    act: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Frame:
    """One moment of the tour."""

    elapsed_s: float
    tally: dict[str, Any]
    status: dict[str, Any]
    event: str | None = None


class Demo:
    """Everything that runs, from entering to leaving."""

    def __init__(self, policy: str | None = None) -> None:
        self._policy = policy or config.DEFAULT_POLICY
        self._stack = ExitStack()
        self.origins = [OriginProcess(f"origin-{number}") for number in range(1, ORIGINS + 1)]
        self.tally = Tally()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for origin in self.origins:
                stack.callback(origin.kill)
                origin.start()
            text = self.toml()
            source = ConfigSource(
                "the configuration of the demo", None, lambda: config.load_text(text, "the demo")
            )
            self.control = Control.start(source, source.load())
            stack.callback(self.control.close)
            self.address: str = self.control.status()["listeners"][0]["bind"][0]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def toml(self) -> str:
        """The configuration of the proxy."""
        addresses = ", ".join(f'"{origin.address}"' for origin in self.origins)
        return f"""\
[log]
level = "error"

[listeners.web]
bind = ["127.0.0.1:0"]
pool = "app"

[pools.app]
policy = {json.dumps(self._policy)}
endpoints = [{addresses}]
threshold.requests = 1
health = {{ path = "/healthz", interval = "250ms", timeout = "250ms", fall = 2 }}
"""

    def names(self) -> dict[str, str]:
        return {origin.address: origin.name for origin in self.origins}

    def healthy(self) -> set[str]:
        """The addresses of the endpoints that are healthy now."""
        (pool,) = self.control.status()["pools"]
        return {one["address"] for one in pool["endpoints"] if one["verdict"] == "healthy"}

    def ailing(self) -> str:
        """The origins that are not healthy, and why."""
        names = self.names()
        (pool,) = self.control.status()["pools"]
        return "; ".join(
            f"{names[one['address']]} is {one['verdict']} ({one['why'] or 'not probed yet'})"
            for one in pool["endpoints"]
            if one["verdict"] != "healthy"
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(self.healthy()) < ORIGINS:
            if time.monotonic() > deadline:
                raise SteelyardError(
                    f"the origins did not become healthy within {START_TIMEOUT_S:.0f} s: {self.ailing()}",
                    hint="probes are given 250 ms; is this machine busy with something else?",
                )
            self.control.wait(0.02)

    def wait_until_quiet(self) -> None:
        """Until nothing is in flight. A client has its answer a moment before the proxy has counted it."""
        deadline = time.monotonic() + QUIET_TIMEOUT_S
        while time.monotonic() < deadline:
            (pool,) = self.control.status()["pools"]
            if not any(one["in_flight"] for one in pool["endpoints"]):
                break
            self.control.wait(0.02)

    def first(self) -> dict[str, Any]:
        """The article's example: a hundred requests to five servers, busy ones skipped."""
        tally = Tally()
        client = Client(self.address, tally, most=FIRST_REQUESTS)
        client.start()
        client.join()
        return tally.as_json()

    def tour(self) -> Iterator[Frame]:
        """A few thousand requests; on the way one origin is killed and, later, started again."""
        client = Client(self.address, self.tally)
        client.start()
        begin = time.monotonic()
        try:
            yield from self._steps(begin)
        finally:
            client.stop()
        elapsed_s = time.monotonic() - begin
        self.wait_until_quiet()
        yield Frame(elapsed_s, self.tally.as_json(), self.control.status())

    def _steps(self, begin: float) -> Iterator[Frame]:
        victim = self.origins[2]
        pending = deque(
            [
                Step(f"{victim.name} is killed", lambda: self.tally.requests >= STOP_AFTER, victim.kill),
                Step(
                    f"{victim.name} is started again",
                    lambda: self.tally.requests >= START_AFTER,
                    victim.start,
                ),
                Step(f"{victim.name} is healthy again", lambda: victim.address in self.healthy()),
            ]
        )
        enough = TOUR_REQUESTS
        while pending or self.tally.requests < enough:
            if time.monotonic() - begin > TOUR_TIMEOUT_S:
                break
            event = None
            if pending and pending[0].due():
                step = pending.popleft()
                step.act()
                event = step.event
                if not pending:
                    # Long enough after its return to see it serve.
                    enough = max(enough, self.tally.requests + FIRST_REQUESTS * ORIGINS)
            yield Frame(time.monotonic() - begin, self.tally.as_json(), self.control.status(), event)
            self.control.wait(FRAME_S)
