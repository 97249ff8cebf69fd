"""One end of a connection that speaks HTTP/2, over the `h2` package: a client, or a played origin."""

import select
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame

from language.exchange import Asking, Exchange, Fields, Gone, Received
from language.raw import Reachable
from language.scope import keep
from language.wire import PATIENCE_S, PIECE_BYTES

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11


class _Connection(h2.connection.H2Connection):
    """The package takes every GOAWAY for the end; of a graceful one, the streams go on behind it."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        state = self.state_machine.state
        result = super()._receive_goaway_frame(frame)
        self.state_machine.state = state
        return result


class Stream(Exchange):
    """One exchange on a connection."""

    def __init__(self, connection: "Conversation", number: int) -> None:
        self.connection: Conversation = connection
        self.number = number
        self.got = connection.received.setdefault(number, Received())

    # speaking

    def head(self, fields: Fields, *, end: bool = False) -> Self:
        self.connection.h2.send_headers(self.number, list(fields), end_stream=end)
        self.connection.flush()
        return self

    def respond(
        self,
        status: int = 200,
        body: bytes = b"",
        fields: Fields = (),
        *,
        trailers: Fields = (),
        end: bool = True,
    ) -> Self:
        """Sends a whole response, or with `end=False` one that goes on."""
        last = end and not body and not trailers
        self.head([(":status", str(status)), *fields], end=last)
        if body:
            self.send(body, end=end and not trailers)
        if trailers:
            self.trailers(trailers)
        return self

    def interim(self, status: int, fields: Fields = ()) -> Self:
        return self.head([(":status", str(status)), *fields])

    def send(self, data: bytes, *, end: bool = False) -> Self:
        """Sends content as the other side makes room."""
        connection = self.connection
        while data:
            connection.until(self._may_send, "a window to send into")
            window = connection.h2.local_flow_control_window(self.number)
            piece = data[: min(window, connection.h2.max_outbound_frame_size)]
            data = data[len(piece) :]
            connection.h2.send_data(self.number, piece, end_stream=end and not data)
            connection.flush()
        if not data and end and not self._is_closed_by_us():
            connection.h2.end_stream(self.number)
            connection.flush()
        return self

    def fill_window(self) -> int:
        """Sends as much as fits now; says how much that is."""
        sent = 0
        while window := self.connection.h2.local_flow_control_window(self.number):
            piece = b"x" * min(window, self.connection.h2.max_outbound_frame_size)
            self.connection.h2.send_data(self.number, piece)
            self.connection.flush()
            sent += len(piece)
        return sent

    def end(self) -> Self:
        self.connection.h2.end_stream(self.number)
        self.connection.flush()
        return self

    def reset(self, code: int = CANCEL) -> Self:
        self.connection.h2.reset_stream(self.number, code)
        self.connection.flush()
        return self

    # listening

    def expect_end(self) -> Received:
        self.connection.until(lambda: self.is_over, f"the end of {self.number}")
        # A server that has answered may end what is left of the request without an error.
        assert self.got.ended, f"reset with {self.got.reset} after {self.got}"
        assert not self.got.reset, f"reset with {self.got.reset} after {self.got}"
        return self.got

    def _may_send(self) -> bool:
        assert self.got.reset is None, f"reset with {self.got.reset} while sending"
        return self.connection.h2.local_flow_control_window(self.number) > 0

    def _is_closed_by_us(self) -> bool:
        state = self.connection.h2.streams[self.number].state_machine.state.name
        return state in ("HALF_CLOSED_LOCAL", "CLOSED")


class Conversation:
    """One end of a connection. Whatever is waited for, everything that comes meanwhile is taken in."""

    def __init__(self, connection: socket.socket, *, is_client: bool) -> None:
        self.socket: socket.socket = connection
        self.socket.settimeout(PATIENCE_S)
        config = h2.config.H2Configuration(
            client_side=is_client,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.h2 = _Connection(config)
        self.received: dict[int, Received] = {}
        self.requests: list[int] = []
        self.goaway: int | None = None
        self.last_stream: int | None = None
        self.pongs = 0
        self.acknowledged = 0
        self.ended = False
        # What has come counts as read, unless a test says otherwise.
        self.reads = True
        self.is_client = is_client

    def begin(self, settings: Mapping[int, int] | None = None) -> Self:
        for setting, value in (settings or {}).items():
            self.h2.local_settings[setting] = value
        self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.flush()
        return self

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            try:
                self.socket.sendall(data)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                self.ended = True

    def send_frames(self, *frames: Frame) -> Self:
        """Sends frames as they are, past what the `h2` package thinks of them."""
        return self.send_raw(b"".join(frame.serialize() for frame in frames))

    def send_raw(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def until(self, condition: Callable[[], object], what: str) -> None:
        while not condition():
            if self.ended:
                raise Gone(f"the connection ended before {what} (GOAWAY {self.goaway})")
            self.pump()

    def pump(self) -> None:
        """Takes in what comes next."""
        try:
            data = self.socket.recv(PIECE_BYTES)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        if not data:
            self.ended = True
            return
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise AssertionError(f"the other side broke the protocol: {error!r}") from error
        for event in events:
            self._take(event)
        self.flush()

    def readable(self) -> bool:
        """Whether something has come that was not taken in."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def expect_goaway(self, code: int) -> int:
        """The other side ends the connection; returns the last stream that it has looked at."""
        self.until(lambda: self.goaway is not None, "a GOAWAY")
        assert self.goaway == code, f"GOAWAY {self.goaway}"
        assert self.last_stream is not None
        return self.last_stream

    def expect_closed(self) -> Self:
        while not self.ended:
            self.pump()
        return self

    def close(self) -> None:
        self.socket.close()

    def _take(self, event: h2.events.Event) -> None:
        number = getattr(event, "stream_id", None)
        got = self.received.setdefault(number, Received()) if number else Received()
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                got.head = list(event.headers)
                if isinstance(event, h2.events.RequestReceived):
                    self.requests.append(event.stream_id)
            case h2.events.InformationalResponseReceived():
                got.interim.append(list(event.headers))
            case h2.events.DataReceived():
                got.body += event.data
                if self.reads and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                got.trailers = list(event.headers)
            case h2.events.StreamEnded():
                got.ended = True
            case h2.events.StreamReset():
                got.reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code)
                self.last_stream = event.last_stream_id
            case h2.events.PingAckReceived():
                self.pongs += 1
            case h2.events.SettingsAcknowledged():
                self.acknowledged += 1


class Http2Client(Conversation, Asking[Stream]):
    """A client's connection to the proxy."""

    scheme = "http"
    host = "127.0.0.1"

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, is_client=True)

    def open_with(self, fields: Fields, *, end: bool = True) -> Stream:
        number = self.h2.get_next_available_stream_id()
        return Stream(self, number).head(fields, end=end)


def http2_client(
    proxy: Reachable,
    listener: str = "web",
    *,
    settings: Mapping[int, int] | None = None,
    receive_bytes: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> Http2Client:
    """A fresh connection that speaks HTTP/2 from the start; with `tls`, once that has been agreed on."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(PATIENCE_S)
    opened = keep(Http2Client(connection))
    connection.connect(proxy.listening(listener))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
        opened.socket = tls.wrap_socket(connection, server_hostname="a.example")
        assert opened.socket.selected_alpn_protocol() == "h2"
    opened.begin(settings)
    return opened
