"""A client that speaks HTTP/3, over the `aioquic` package."""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pylsqpack
from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, Headers, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from aioquic.tls import SessionTicket

from language.exchange import Asking, Exchange, Fields, Gone, Received
from language.plan import Plan, Settings
from language.raw import Reachable
from language.scope import keep
from language.tls import Authority, Pair
from language.wire import PATIENCE_S

NO_ERROR, INTERNAL_ERROR, STREAM_CREATION_ERROR, CLOSED_CRITICAL_STREAM = 0x100, 0x102, 0x103, 0x104
FRAME_UNEXPECTED, FRAME_ERROR, EXCESSIVE_LOAD, ID_ERROR = 0x105, 0x106, 0x107, 0x108
SETTINGS_ERROR, MISSING_SETTINGS, REQUEST_REJECTED, REQUEST_CANCELLED = 0x109, 0x10A, 0x10B, 0x10C
REQUEST_INCOMPLETE, MESSAGE_ERROR = 0x10D, 0x10E
DECOMPRESSION_FAILED, ENCODER_STREAM_ERROR, DECODER_STREAM_ERROR = 0x200, 0x201, 0x202
DATA, HEADERS, SETTINGS, GOAWAY = 0x0, 0x1, 0x4, 0x7
CONTROL_STREAM = 3
"""The first stream that the server opens, and the only one."""


def section(fields: Fields) -> bytes:
    """Fields as a HEADERS frame holds them, without any table."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    return bytes(pylsqpack.Encoder().encode(0, encoded)[1])


def frame(kind: int, payload: bytes) -> bytes:
    return encode_uint_var(kind) + encode_uint_var(len(payload)) + payload


def speaking(plan: Plan, ca: Authority, *, http3: bool | Settings = True, **settings: Any) -> Plan:
    """The plan with a listener that speaks HTTP/3. `tls` and `alpn` are laid over what it needs for that."""
    certificates = [ca.certificate("a.example", "127.0.0.1").files]
    tls = {
        "certificates": certificates,
        "alpn": settings.pop("alpn", ["http/1.1"]),
        **settings.pop("tls", {}),
    }
    return plan.listener(tls=tls, http3=http3, **settings)


class _Quic(QuicConnection):
    """Widens the window of a stream only while the test reads it."""

    unread: set[int]

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        if stream.stream_id not in self.unread:
            super()._write_stream_limits(builder=builder, space=space, stream=stream)


class _Http3(H3Connection):
    """Knows of HEAD, whose answers are shorter than they say."""

    def __init__(self, quic: QuicConnection) -> None:
        self.heads: set[int] = set()
        super().__init__(quic)

    def send_headers(self, stream_id: int, headers: Headers, end_stream: bool = False) -> None:
        if (b":method", b"HEAD") in headers:
            self.heads.add(stream_id)
        super().send_headers(stream_id, headers, end_stream)

    def _check_content_length(self, stream: Any) -> None:
        if stream.stream_id not in self.heads:
            super()._check_content_length(stream)


class _BareHttp3(H3Connection):
    """Opens no streams of its own and takes in nothing, so that a test can say what is on them."""

    def _init_connection(self) -> None:
        pass

    def handle_event(self, event: QuicEvent) -> list[H3Event]:
        return []


@dataclass
class Heard(Received):
    """With the code by which the other side stops the sending."""

    stopped: int | None = None


class Stream(Exchange):
    """One exchange on a connection."""

    def __init__(self, connection: "Http3Client", number: int) -> None:
        self.connection: Http3Client = connection
        self.number = number
        self.got: Heard = connection.received.setdefault(number, Heard())

    # speaking

    def head(self, fields: Fields, *, end: bool = False) -> Self:
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        self.connection.h3.send_headers(self.number, encoded, end_stream=end)
        self.connection.flush()
        return self

    def send(self, data: bytes, *, end: bool = False) -> Self:
        self.connection.h3.send_data(self.number, data, end_stream=end)
        self.connection.flush()
        return self

    def raw(self, data: bytes, *, end: bool = False) -> Self:
        """Sends bytes as they are."""
        self.connection.quic.send_stream_data(self.number, data, end_stream=end)
        self.connection.flush()
        return self

    def end(self) -> Self:
        return self.send(b"", end=True)

    def cancel(self, code: int = REQUEST_CANCELLED) -> Self:
        """As a client gives up on a request: both directions, as far as they are open."""
        quic = self.connection.quic
        if not self.got.ended and self.got.reset is None:
            quic.stop_stream(self.number, code)
        quic.reset_stream(self.number, code)
        self.connection.flush()
        return self

    def expect_sent(self) -> Self:
        """Whatever was to be sent has left."""
        sender = self.connection.quic._streams[self.number].sender
        self.connection.until(lambda: sender.buffer_is_empty, "room to send")
        return self

    # listening

    def expect_end(self) -> Received:
        self.connection.until(lambda: self.is_over, f"the end of {self.number}")
        assert self.got.reset is None, f"reset with {self.got.reset:#x} after {self.got}"
        return self.got


class Http3Client(Asking[Stream]):
    """A connection to the proxy. Whatever is waited for, everything that comes meanwhile is taken in."""

    scheme = "https"
    host = "a.example"

    def __init__(
        self,
        at: tuple[str, int],
        ca: Authority,
        *,
        name: str = "a.example",
        pair: Pair | None = None,
        ticket: SessionTicket | None = None,
        bare: bool = False,
        **settings: Any,
    ) -> None:
        self.at = at
        self.bare = bare
        configuration = QuicConfiguration(
            alpn_protocols=["h3"], server_name=name, session_ticket=ticket, **settings
        )
        configuration.load_verify_locations(cafile=str(ca.file))
        if pair is not None:
            configuration.load_cert_chain(str(pair.cert), str(pair.key))
        self.tickets: list[SessionTicket] = []
        self.quic = _Quic(configuration=configuration, session_ticket_handler=self.tickets.append)
        self.quic.unread = set()
        self._h3: H3Connection | None = None
        self._control = b""
        self.goaway: int | None = None
        """The first request that is not served any more."""
        self.received: dict[int, Heard] = {}
        self.handshake: HandshakeCompleted | None = None
        self.closed: ConnectionTerminated | None = None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))

    @property
    def h3(self) -> H3Connection:
        if self._h3 is None:
            self._h3 = (_BareHttp3 if self.bare else _Http3)(self.quic)
        return self._h3

    # connecting

    def prepare(self) -> Self:
        """Makes ready what a handshake begins with; it leaves together with the first request."""
        self.quic.connect(self.at, now=time.monotonic())
        return self

    def begin(self) -> Self:
        """Sends what a handshake begins with."""
        self.prepare().flush()
        return self

    def connect(self) -> Self:
        self.begin()
        self.until(lambda: self.handshake is not None, "a handshake")
        return self

    def move(self, host: str = "127.0.0.1") -> Self:
        """Goes on from another port, as behind a router that has forgotten, or from another address."""
        self.socket.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))
        return self

    # speaking

    def flush(self) -> None:
        for data, address in self.quic.datagrams_to_send(now=time.monotonic()):
            self.socket.sendto(data, address)

    def open_with(self, fields: Fields, *, end: bool = True) -> Stream:
        return Stream(self, self.quic.get_next_available_stream_id()).head(fields, end=end)

    def open_raw(self, data: bytes, *, end: bool = False, is_unidirectional: bool = False) -> Stream:
        """Begins a stream with these bytes."""
        number = self.quic.get_next_available_stream_id(is_unidirectional=is_unidirectional)
        return Stream(self, number).raw(data, end=end)

    def control(self, data: bytes) -> None:
        """Sends bytes on the control stream."""
        number = self.h3._local_control_stream_id
        assert number is not None
        self.quic.send_stream_data(number, data)
        self.flush()

    # listening

    def until(self, condition: Callable[[], object], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            if self.closed is not None:
                raise Gone(f"the connection ended before {what}: {self.closed}")
            assert time.monotonic() < until_s, f"no {what}"
            self.pump(until_s)

    def pump(self, until_s: float) -> None:
        """Takes in what comes next."""
        timer = self.quic.get_timer()
        moment = until_s if timer is None else min(until_s, timer)
        ready, _, _ = select.select([self.socket], [], [], max(0, moment - time.monotonic()))
        if ready:
            try:
                while True:
                    data, address = self.socket.recvfrom(65_536)
                    self.quic.receive_datagram(data, address, now=time.monotonic())
            except (BlockingIOError, ConnectionRefusedError):
                pass
        now = time.monotonic()
        timer = self.quic.get_timer()
        if timer is not None and timer <= now:
            self.quic.handle_timer(now=now)
        while (event := self.quic.next_event()) is not None:
            self._take(event)
        self.flush()

    def expect_packet(self) -> bytes:
        """The next one as it comes, which is not taken in."""
        ready, _, _ = select.select([self.socket], [], [], PATIENCE_S)
        assert ready, "no packet"
        return self.socket.recv(65_536)

    def expect_goaway(self) -> int:
        self.until(lambda: self.goaway is not None, "a GOAWAY")
        assert self.goaway is not None
        return self.goaway

    def expect_closed(self, code: int | None = None) -> ConnectionTerminated:
        until_s = time.monotonic() + PATIENCE_S
        while self.closed is None:
            assert time.monotonic() < until_s, "the connection did not end"
            self.pump(until_s)
        assert code is None or self.closed.error_code == code, self.closed
        return self.closed

    def expect_ticket(self) -> SessionTicket:
        self.until(lambda: self.tickets, "a session ticket")
        return self.tickets[-1]

    def close(self) -> None:
        self.quic.close(error_code=NO_ERROR)
        self.flush()
        self.socket.close()

    def leave(self) -> None:
        """Ends the connection, and says so."""
        self.quic.close(error_code=NO_ERROR)
        self.flush()

    def _take(self, event: Any) -> None:
        match event:
            case HandshakeCompleted():
                self.handshake = event
            case ConnectionTerminated():
                self.closed = event
            case StreamReset():
                self._of(event.stream_id).reset = event.error_code
            case StopSendingReceived():
                self._of(event.stream_id).stopped = event.error_code
            case StreamDataReceived():
                if event.stream_id == CONTROL_STREAM:
                    self._take_control(event.data)
                if event.end_stream:
                    self._of(event.stream_id).ended = True
        if self.handshake is None and self._h3 is None:
            return
        for one in self.h3.handle_event(event):
            match one:
                case HeadersReceived():
                    self._take_head(self._of(one.stream_id), one)
                case DataReceived():
                    self._of(one.stream_id).body += one.data

    def _take_control(self, data: bytes) -> None:
        """Looks for where the server stops, which the package reads past."""
        self._control += data
        # Behind the byte that says what the stream is for.
        buffer = Buffer(data=self._control[1:])
        with contextlib.suppress(BufferReadError):
            while True:
                kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
                payload = Buffer(data=buffer.pull_bytes(length))
                if kind == GOAWAY:
                    self.goaway = payload.pull_uint_var()

    def _take_head(self, got: Received, event: HeadersReceived) -> None:
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
        if got.head is not None:
            got.trailers = fields
        elif dict(fields)[":status"].startswith("1"):
            got.interim.append(fields)
        else:
            got.head = fields

    def _of(self, number: int) -> Heard:
        return self.received.setdefault(number, Heard())


def http3_client(proxy: Reachable, ca: Authority, listener: str = "web", **settings: Any) -> Http3Client:
    """A fresh connection, its handshake over."""
    return http3_begun(proxy, ca, listener, **settings).connect()


def http3_begun(proxy: Reachable, ca: Authority, listener: str = "web", **settings: Any) -> Http3Client:
    """One that has not sent anything."""
    return keep(Http3Client(proxy.listening(listener), ca, **settings))
