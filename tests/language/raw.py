"""A client that sends exactly the bytes it is told."""

import socket
import ssl
from typing import Protocol, Self

from language.scope import keep
from language.wire import PATIENCE_S, Incomplete, Message, Wire


class Reachable(Protocol):
    def listening(self, listener: str) -> tuple[str, int]: ...


class Raw(Wire):
    """A connection to the proxy."""

    def expect_response(self, status: int, *, to: str = "GET") -> Message:
        """The next message is a whole, well-formed final response with this status."""
        message = self.read_response(to=to)
        assert message.status == status, f"expected {status}, got {message.start!r} {message.body[:300]!r}"
        return message

    def expect_interim(self, status: int) -> Message:
        message = self.read_response()
        assert message.status == status, f"expected {status}, got {message.start!r}"
        return message

    def expect_cut_short(self, status: int) -> bytes:
        """A response begins, and the way it ends shows that it is not whole. Returns what came of it."""
        head = self.read_response(body=False)
        assert head.status == status, head.start
        assert head.framing in ("length", "chunked"), f"a {head.framing}-framed body cannot be seen to be cut"
        try:
            whole = self.read_response_body(head)
        except Incomplete as incomplete:
            return incomplete.got
        raise AssertionError(f"a body cut short was presented as whole: {whole}")

    @property
    def tls(self) -> ssl.SSLSocket:
        assert isinstance(self.socket, ssl.SSLSocket), "it is in clear text"
        return self.socket

    def get(self, target: str = "/", *fields: str) -> Self:
        """Sends a GET."""
        lines = [f"GET {target} HTTP/1.1", "Host: a.example", *fields]
        return self.send("\r\n".join(lines).encode() + b"\r\n\r\n")


def raw(
    proxy: Reachable,
    listener: str = "web",
    *,
    receive_bytes: int | None = None,
    tls: ssl.SSLContext | None = None,
    name: str = "a.example",
    session: ssl.SSLSession | None = None,
) -> Raw:
    """A fresh connection to the proxy, with a small receive window where `receive_bytes` asks for one.

    With `tls` the handshake with the server of that `name` is over when it returns. An end that was not
    announced is then an error, as it is to the proxy.
    """
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(PATIENCE_S)
    opened = keep(Raw(connection))
    connection.connect(proxy.listening(listener))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        opened.socket = tls.wrap_socket(
            connection, server_hostname=name, suppress_ragged_eofs=False, session=session
        )
    return opened
