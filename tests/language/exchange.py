"""Exchanges on streams, whichever version carries them: what has come on one, and what is waited for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, Self, TypeVar

from language.client import Reply
from language.proxies import Running
from language.scripted import Scripted
from language.waiting import eventually
from language.wire import ok

Fields = Sequence[tuple[str, str]]


class Gone(AssertionError):
    """The connection ended while something was waited for."""


class Pumping(Protocol):
    """A connection that takes in what comes while it waits."""

    def until(self, condition: Callable[[], object], what: str) -> None: ...


@dataclass
class Received:
    """What has come on one stream so far."""

    head: list[tuple[str, str]] | None = None
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None


class Exchange(ABC):
    """One stream of a connection."""

    connection: Pumping
    number: int
    got: Received

    # speaking

    @abstractmethod
    def head(self, fields: Fields, *, end: bool = False) -> Self: ...

    @abstractmethod
    def send(self, data: bytes, *, end: bool = False) -> Self:
        """Sends content."""

    @abstractmethod
    def end(self) -> Self: ...

    def trailers(self, fields: Fields) -> Self:
        return self.head(fields, end=True)

    # listening

    @abstractmethod
    def expect_end(self) -> Received:
        """All of it comes, and no reset."""

    def expect_head(self) -> list[tuple[str, str]]:
        self.connection.until(lambda: self.got.head is not None or self.is_over, f"a head on {self.number}")
        assert self.got.head is not None, f"no head, but {self.got}"
        return self.got.head

    def expect_interim(self, status: int) -> list[tuple[str, str]]:
        self.connection.until(
            lambda: self.got.interim or self.got.head or self.is_over, "an interim response"
        )
        assert self.got.interim, f"no interim response, but {self.got}"
        head = self.got.interim.pop(0)
        assert dict(head)[":status"] == str(status), head
        return head

    def expect_bytes(self, count: int) -> bytes:
        """At least so many bytes of content come; they are taken."""
        self.connection.until(lambda: len(self.got.body) >= count or self.is_over, f"{count} bytes")
        assert len(self.got.body) >= count, f"only {len(self.got.body)} bytes, and {self.got.reset}"
        taken = bytes(self.got.body)
        self.got.body.clear()
        return taken

    def expect_response(self, status: int | None = None) -> Reply:
        got = self.expect_end()
        assert got.head is not None
        fields = dict(got.head)
        assert status is None or fields[":status"] == str(status), (got.head, bytes(got.body[:300]))
        return Reply(int(fields[":status"]), got.head[1:], bytes(got.body))

    def expect_reset(self, code: int | None = None) -> int:
        self.connection.until(lambda: self.is_over, f"a reset of {self.number}")
        assert self.got.reset is not None, f"no reset, but {self.got}"
        assert code is None or self.got.reset == code, self.got
        return self.got.reset

    @property
    def is_over(self) -> bool:
        return self.got.ended or self.got.reset is not None


Opened = TypeVar("Opened", bound=Exchange)


class Asking(ABC, Generic[Opened]):
    """A client's side of a connection: it opens streams, or asks and waits for the answer."""

    scheme: ClassVar[str]
    host: ClassVar[str]
    """Whom `request` asks."""

    @abstractmethod
    def open_with(self, fields: Fields, *, end: bool = True) -> Opened:
        """Begins a request with exactly these fields."""

    def open(
        self,
        method: str = "GET",
        target: str = "/",
        fields: Fields = (),
        *,
        authority: str | None = "a.example",
        end: bool = True,
    ) -> Opened:
        """Begins a request; with `end` its head is all of it."""
        named = [(":authority", authority)] if authority is not None else []
        pseudo = [(":method", method), (":scheme", self.scheme), *named, (":path", target)]
        return self.open_with([*pseudo, *fields], end=end)

    def request(
        self,
        method: str,
        target: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """As an HTTP/1.1 client asks: `body` as bytes is sent with its length, as an iterable without."""
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        if isinstance(body, bytes):
            fields.append(("content-length", str(len(body))))
        stream = self.open(method, target, fields, authority=self.host, end=body is None)
        if body is not None:
            for piece in [body] if isinstance(body, bytes) else body:
                stream.send(piece)
            if not stream.is_over:
                stream.end()
        return stream.expect_response()

    def get(self, target: str = "/", *, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", target, headers=headers)

    def post(self, target: str = "/", body: bytes | Iterable[bytes] = b"") -> Reply:
        return self.request("POST", target, body=body)


def expect_streams_in_flight(running: Running, server: Scripted, client: Asking[Opened]) -> None:
    """Each stream counts as a request in flight until it is answered."""
    streams = [client.open() for _ in range(3)]
    connections = [server.accept() for _ in streams]
    eventually(lambda: running.endpoint(server)["in_flight"] == 3)
    for connection in connections:
        connection.expect_request()
        connection.send(ok())
    assert [stream.expect_response().status for stream in streams] == [200] * 3
    eventually(lambda: running.endpoint(server)["in_flight"] == 0)
