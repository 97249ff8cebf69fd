"""The server's half of the policy `prequal`: an application that says how loaded it is.

Two lines adopt it, around an ASGI application (FastAPI, Starlette, Django's asgi.py, Quart):

    from steelyard.middleware import LoadReport
    app = LoadReport(app)

or around a WSGI one (Flask, Django's wsgi.py, Bottle):

    from steelyard.middleware import LoadReportWSGI
    app = LoadReportWSGI(app)

`GET /.steelyard/load` is then answered here with `{"in_flight": 3, "latency_ms": 12.5}`: the requests that
this process works at now, and the median time of recent requests that came when about as many were under way,
which is what a request would take that came now. Everything else goes to the application untouched.

The counts are those of one process. Where several processes share a port, whichever accepts the question
answers for itself; give each a port of its own, and name each as an endpoint.

Source: B. Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI 2024.
"""

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from statistics import median
from typing import Any

__all__ = ["LOAD_PATH", "LoadMeter", "LoadReport", "LoadReportWSGI"]

LOAD_PATH = "/.steelyard/load"
# Recent times that are kept for each number of requests in flight, or for each range of such numbers.
SAMPLES_MAX = 32
# Where the newest time of a range is older, what it says no longer holds, if another range has newer ones.
SAMPLE_AGE_MAX_S = 60.0
# Below, every number has samples of its own; above, every eighth of a doubling has.
EXACT_MAX = 16

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

StartResponse = Callable[..., Any]
WSGIApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def bucket_of(in_flight: int) -> int:
    """Which numbers of requests in flight share their samples."""
    if in_flight < EXACT_MAX:
        return in_flight
    doublings = in_flight.bit_length() - 5
    return EXACT_MAX + 8 * doublings + ((in_flight >> (doublings + 1)) & 7)


class LoadMeter:
    """Requests in flight, and how long they took by how many were in flight when they came. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_flight = 0
        # By bucket: (when it ended, how long it took), the newest last.
        self._samples: dict[int, deque[tuple[float, float]]] = {}

    def begin(self) -> tuple[int, float]:
        """A request comes. What is returned goes to `end`, once."""
        with self._lock:
            found = self._in_flight
            self._in_flight = found + 1
        return found, self._clock()

    def end(self, begun: tuple[int, float], *, good: bool) -> None:
        """It has ended. One that failed teaches no time: failing fast is not being fast."""
        found, since = begun
        now = self._clock()
        with self._lock:
            self._in_flight -= 1
            if good:
                bucket = bucket_of(found)
                samples = self._samples.get(bucket)
                if samples is None:
                    samples = self._samples[bucket] = deque(maxlen=SAMPLES_MAX)
                samples.append((now, now - since))

    def read(self) -> tuple[int, float]:
        """Requests in flight, and the milliseconds that one more would take; 0 before any has ended."""
        now = self._clock()
        with self._lock:
            in_flight = self._in_flight
            samples = self._nearest(bucket_of(in_flight), now)
            taken = [took for _, took in samples]
        return in_flight, median(taken) * 1e3 if taken else 0.0

    def report(self) -> bytes:
        """The same as the JSON object that the balancer reads."""
        in_flight, latency_ms = self.read()
        return b'{"in_flight": %d, "latency_ms": %.3f}' % (in_flight, latency_ms)

    def _nearest(self, wanted: int, now: float) -> Iterable[tuple[float, float]]:
        """The samples at or nearest to this bucket; stale ones only where there are no others."""
        if not self._samples:
            return ()

        def rank(bucket: int) -> tuple[bool, int]:
            return now - self._samples[bucket][-1][0] > SAMPLE_AGE_MAX_S, abs(bucket - wanted)

        return self._samples[min(self._samples, key=rank)]


class LoadReport:
    """Answers the question for the load of an ASGI application, and counts the requests that it serves."""

    def __init__(self, app: ASGIApplication, *, path: str = LOAD_PATH) -> None:
        self.app = app
        self.path = path
        self.meter = LoadMeter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # A WebSocket may last for hours and says little of the load.
            await self.app(scope, receive, send)
        elif scope["path"] == self.path:
            await self._answer(scope, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = self.meter.begin()
        finished = False
        try:
            await self.app(scope, receive, watched)
            finished = True
        finally:
            self.meter.end(begun, good=finished and status < 500)

    async def _answer(self, scope: Scope, send: Send) -> None:
        body = self.meter.report()
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class LoadReportWSGI:
    """Answers the question for the load of a WSGI application, and counts the requests that it serves."""

    def __init__(self, app: WSGIApplication, *, path: str = LOAD_PATH) -> None:
        self.app = app
        self.path = path
        self.meter = LoadMeter()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == self.path:
            return self._answer(environ, start_response)
        status = "500"

        def watched(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line
            return start_response(line, *rest)

        begun = self.meter.begin()
        try:
            body = self.app(environ, watched)
        except BaseException:
            self.meter.end(begun, good=False)
            raise
        if isinstance(body, list | tuple) or is_file(body, environ):
            # The work is done. Servers look at the length of a list and send files in a way of their own.
            self.meter.end(begun, good=status < "500")
            return body
        return Counted(body, lambda good: self.meter.end(begun, good=good and status < "500"))

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = self.meter.report()
        headers = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("Content-Length", str(len(body))),
        ]
        start_response("200 OK", headers)
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]


def is_file(body: object, environ: dict[str, Any]) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class Counted:
    """A body whose end is told, once: with its last piece, an error, or its being closed."""

    def __init__(self, body: Iterable[bytes], tell: Callable[[bool], None]) -> None:
        self._body = body
        self._pieces = iter(body)
        self._tell: Callable[[bool], None] | None = tell

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            self._end(True)
            raise
        except BaseException:
            self._end(False)
            raise

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end(False)

    def _end(self, good: bool) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(good)
