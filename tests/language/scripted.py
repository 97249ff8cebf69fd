"""An origin that the test plays itself: it sees the exact bytes and answers exact bytes."""

import select
import socket
import ssl

from language.scope import keep
from language.wire import PATIENCE_S, Message, Wire


class ScriptedConnection(Wire):
    """A connection the proxy has opened."""

    def expect_request(self, method: str = "GET", target: str | None = None) -> Message:
        """The next message is a whole, well-formed request."""
        message = self.read_request()
        assert message.method == method, message.start
        assert target is None or message.target == target, message.start
        return message

    def expect_request_head(self, method: str = "POST") -> Message:
        """The head of a request whose body is still to come."""
        message = self.read_request(body=False)
        assert message.method == method, message.start
        return message


class Scripted:
    """A listening socket; `accept` gives the connections one by one."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def accept(self) -> ScriptedConnection:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection.settimeout(PATIENCE_S)
            connection = self._tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        return keep(ScriptedConnection(connection))

    def is_called(self) -> bool:
        """Whether a connection waits to be accepted now."""
        return bool(select.select([self._listener], [], [], 0)[0])

    def close(self) -> None:
        self._listener.close()


def scripted(*, tls: ssl.SSLContext | None = None) -> Scripted:
    """With `tls` each connection is accepted with its handshake."""
    return keep(Scripted(tls))


class _Refusing:
    """A port that is bound, so that nobody else takes it, but not listened on."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


def refused_address() -> str:
    """An address where every connection is refused, for as long as the test runs."""
    return keep(_Refusing()).address
