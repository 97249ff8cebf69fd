"""One end of a connection that speaks HTTP/1.1 byte for byte, with an own strict reading of it."""

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

PATIENCE_S = 20.0
PIECE_BYTES = 64 * 1024

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD = re.compile(rf"({TOKEN}):[ \t]*([^\x00\r\n]*?)[ \t]*".encode())
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [^\x00\r\n]*")
REQUEST_LINE = re.compile(rf"({TOKEN}) ([^ \x00\r\n]+) (HTTP/1\.[01])".encode())
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class Incomplete(AssertionError):
    """The connection ended before the message did. `got` is what had come of it."""

    def __init__(self, what: str, got: bytes) -> None:
        super().__init__(f"the connection ended within {what}, after {got[-200:]!r}")
        self.got = got


@dataclass(frozen=True)
class Message:
    """A request or a response as it came."""

    start: bytes
    fields: list[tuple[str, str]]
    framing: str
    """none, length, chunked or close"""
    body: bytes = b""
    chunks: list[int] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a field that may be there once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    @property
    def status(self) -> int:
        return int(self.start[9:12])

    @property
    def method(self) -> str:
        return self.start.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.start.split(b" ")[1].decode()

    @property
    def version(self) -> str:
        return self.start.split(b" ")[2].decode()

    @property
    def asks_to_close(self) -> bool:
        return any("close" in value.lower() for value in self.all("connection"))


class Wire:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket: socket.socket = connection
        self.socket.settimeout(PATIENCE_S)
        self._pending = bytearray()

    # speaking

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def half_close(self) -> Self:
        """FIN: nothing more will be sent, but reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.socket.close()

    def end_tls(self) -> Self:
        """close_notify: nothing more will be sent. What the other end still sends is not waited for."""
        assert isinstance(self.socket, ssl.SSLSocket)
        self.socket.settimeout(0)
        # It has been said, and is not answered yet.
        with contextlib.suppress(ssl.SSLError, OSError):
            self.socket.unwrap()
        self.socket.settimeout(PATIENCE_S)
        return self

    def reset(self) -> None:
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # listening

    def expect_closed(self) -> Self:
        """Nothing more comes, and the other end has closed its side or reset the connection."""
        rest = bytes(self._pending)
        try:
            while piece := self.socket.recv(PIECE_BYTES):
                rest += piece
        except ConnectionResetError:
            pass
        assert rest == b"", f"expected the end, got {rest[:300]!r}"
        return self

    def expect_gone(self) -> None:
        """Nothing more comes, orderly or not, and then this end is closed too."""
        assert self.read_rest_of_all() == b""
        self.close()

    def has_ended(self) -> bool:
        """Whether the other end has closed by now; never waits."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)

    def expect_bytes(self, expected: bytes) -> Self:
        """Exactly these come next."""
        got = self.read_exactly(len(expected), "what was expected")
        assert got == expected, f"expected {expected[:200]!r}, got {got[:200]!r}"
        return self

    def read_exactly(self, count: int, what: str = "a body") -> bytes:
        while len(self._pending) < count:
            self._fill(what)
        return self._take(count)

    def read_until(self, end: bytes, what: str) -> bytes:
        while (at := self._pending.find(end)) < 0:
            self._fill(what)
        return self._take(at + len(end))

    def read_rest(self) -> bytes:
        """Everything up to the end of the stream, which must be an orderly one."""
        while piece := self.socket.recv(PIECE_BYTES):
            self._pending += piece
        return self._take(len(self._pending))

    def read_rest_of_all(self) -> bytes:
        """Everything up to the end of the stream, orderly or not."""
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            while piece := self.socket.recv(PIECE_BYTES):
                self._pending += piece
        return self._take(len(self._pending))

    def read_request(self, *, body: bool = True) -> Message:
        start, fields = self._read_head(REQUEST_LINE, "a request head")
        framing = framing_of(fields) or "none"
        message = Message(start, fields, framing)
        return self._with_body(message) if body else message

    def read_request_body(self, head: Message) -> Message:
        """What follows a head that was read with `body=False`."""
        return self._with_body(head)

    def read_response(self, *, to: str = "GET", body: bool = True) -> Message:
        start, fields = self._read_head(STATUS_LINE, "a response head")
        status = int(start[9:12])
        framing = framing_of(fields) or "close"
        if to == "HEAD" or status < 200 or status in (204, 304):
            framing = "none"
        message = Message(start, fields, framing)
        return self._with_body(message) if body else message

    def read_response_body(self, head: Message) -> Message:
        return self._with_body(head)

    # pieces

    def _with_body(self, head: Message) -> Message:
        match head.framing:
            case "length":
                length = int(head.get("content-length") or "")
                return Message(head.start, head.fields, "length", self.read_exactly(length))
            case "chunked":
                return self._read_chunked(head)
            case "close":
                return Message(head.start, head.fields, "close", self.read_rest())
        return head

    def _read_chunked(self, head: Message) -> Message:
        body, chunks = bytearray(), []
        try:
            while True:
                line = self.read_until(b"\r\n", "a chunk size")[:-2]
                assert CHUNK_SIZE.fullmatch(line), f"not a plain chunk size: {line!r}"
                size = int(line, 16)
                if size == 0:
                    break
                while len(self._pending) < size + 2:
                    self._fill("a chunk")
                chunks.append(size)
                body += self._take(size)
                assert self._take(2) == b"\r\n", "a chunk does not end where its size says"
            trailers = self._read_fields("trailers")
        except Incomplete as error:
            raise Incomplete(str(error), bytes(body) + error.got) from error
        return Message(head.start, head.fields, "chunked", bytes(body), chunks, trailers)

    def _read_head(self, first: re.Pattern[bytes], what: str) -> tuple[bytes, list[tuple[str, str]]]:
        start = self.read_until(b"\r\n", what)[:-2]
        assert first.fullmatch(start), f"not {what}: {start[:300]!r}"
        return start, self._read_fields(what)

    def _read_fields(self, what: str) -> list[tuple[str, str]]:
        fields = []
        while line := self.read_until(b"\r\n", what)[:-2]:
            match = FIELD.fullmatch(line)
            assert match, f"not a field: {line!r}"
            fields.append((match[1].decode("ascii"), match[2].decode("latin-1")))
        return fields

    def _fill(self, what: str) -> None:
        try:
            piece = self.socket.recv(PIECE_BYTES)
        except (ConnectionResetError, ssl.SSLEOFError) as error:
            raise Incomplete(what, bytes(self._pending)) from error
        if not piece:
            raise Incomplete(what, bytes(self._pending))
        self._pending += piece

    def _take(self, count: int) -> bytes:
        taken = bytes(self._pending[:count])
        del self._pending[:count]
        return taken


def framing_of(fields: list[tuple[str, str]]) -> str | None:
    """How a body is framed. Whoever sends both framings, or one twice, has failed the test already."""
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    codings = [value for name, value in fields if name.lower() == "transfer-encoding"]
    assert len(lengths) + len(codings) <= 1, f"ambiguous framing: {lengths} {codings}"
    if codings:
        assert codings[0].lower() == "chunked", codings
        return "chunked"
    if lengths:
        assert re.fullmatch("[0-9]+", lengths[0]), lengths
        return "length"
    return None


def response(status: int, body: bytes = b"", fields: Sequence[str] = ()) -> bytes:
    """A whole response with a content-length."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ok(body: bytes = b"ok", *fields: str) -> bytes:
    return response(200, body, fields)
