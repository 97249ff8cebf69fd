"""Many keep-alive clients at once, and what became of every request."""

import asyncio
import re
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from language.raw import Reachable

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
ORIGIN = re.compile(rb"\r\nx-origin:[ \t]*([^\r]*)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
PATIENCE_S = 100.0


@dataclass
class Tally:
    """What became of the requests of a load."""

    statuses: Counter[int] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    completed: int = 0
    connections: int = 0

    def expect_all(self, status: int, count: int | None = None) -> "Tally":
        """Every request was answered with this status and none failed."""
        assert not self.errors, f"{len(self.errors)} failed: {Counter(self.errors).most_common(3)}"
        assert set(self.statuses) <= {status}, self.statuses
        assert count is None or self.completed == count, f"{self.completed} of {count}"
        assert self.completed > 0
        return self


class _Exchange(asyncio.Protocol):
    """One client: sends, reads the answer, sends again, as long as there is something to send."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._waiting = False
        self._input = bytearray()
        self.ended = load.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._load.tally.connections += 1
        self._next()

    def data_received(self, data: bytes) -> None:
        self._input += data
        if not self._waiting:
            self._fail(f"unasked bytes {bytes(self._input[:60])!r}")
            return
        end = self._input.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._input[: end + 2])
        length = LENGTH.search(head)
        if length is None:
            self._fail(f"no content-length in {head[:200]!r}")
            return
        if len(self._input) < end + 4 + int(length[1]):
            return
        del self._input[: end + 4 + int(length[1])]
        self._waiting = False
        self._load.count(head)
        if CLOSE.search(head):
            self._end()
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting:
            self._load.tally.errors.append(f"the connection ended before the answer: {error!r}")
        if not self.ended.done():
            self.ended.set_result(None)

    def _next(self) -> None:
        assert self._transport is not None
        if self._load.take():
            self._waiting = True
            self._transport.write(self._load.request)
        else:
            self._end()

    def _fail(self, why: str) -> None:
        self._load.tally.errors.append(why)
        self._waiting = False
        self._end()

    def _end(self) -> None:
        assert self._transport is not None
        self._transport.close()


class Load:
    """`clients` connections that send the same request, each as soon as its last was answered."""

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        address: tuple[str, int],
        request: bytes,
        clients: int,
        requests: int | None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.tally = Tally()
        self.request = request
        self._address = address
        self._clients = clients
        self._left = requests
        self._stop = False

    @property
    def completed(self) -> int:
        return self.tally.completed

    def take(self) -> bool:
        """Whether one more is to be sent."""
        if self._stop or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def count(self, head: bytes) -> None:
        tally = self.tally
        tally.statuses[int(head[9:12])] += 1
        origin = ORIGIN.search(head)
        tally.origins[origin[1].decode() if origin else ""] += 1
        tally.completed += 1

    def stop(self) -> None:
        """Every client ends with the answer it waits for."""
        self._stop = True

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def _client(self) -> None:
        # A connection that the proxy asked to close is followed by another; a failed one is not.
        while not self._stop and self._left != 0:
            failed = len(self.tally.errors)
            try:
                _, exchange = await self.loop.create_connection(
                    lambda: _Exchange(self), *self._address, ssl=self._tls
                )
            except OSError as error:
                self.tally.errors.append(f"no connection: {error!r}")
                return
            await exchange.ended
            if len(self.tally.errors) > failed:
                return


def _request(method: str, path: str, body: bytes) -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: a.example\r\n{length}\r\n".encode() + body


def load(
    proxy: Reachable,
    *,
    requests: int,
    clients: int,
    path: str = "/",
    method: str = "GET",
    body: bytes = b"",
    listener: str = "web",
    tls: ssl.SSLContext | None = None,
) -> Tally:
    """So many requests over so many connections; returns when all were answered or failed."""
    one = Load(proxy.listening(listener), _request(method, path, body), clients, requests, tls)
    asyncio.run(one.run())
    return one.tally


@contextmanager
def steady_load(
    proxy: Reachable,
    *,
    clients: int,
    path: str = "/",
    method: str = "GET",
    listener: str = "web",
    tls: ssl.SSLContext | None = None,
) -> Iterator[Load]:
    """Requests without end beside the body of the `with`; its tally is whole after it."""
    one = Load(proxy.listening(listener), _request(method, path, b""), clients, None, tls)
    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(one.run())
        except BaseException as error:  # handed to the test below
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield one
    finally:
        one.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the load does not end"
    if failure:
        raise failure[0]
