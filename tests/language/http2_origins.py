"""Origins that speak HTTP/2: one that the test plays, and one that answers by itself."""

import contextlib
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from language.http2 import Conversation, Stream
from language.scope import keep
from language.wire import PATIENCE_S


class Http2Server(Conversation):
    """A connection that the proxy has opened, at the end that answers."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, is_client=False)

    def expect_request(self, method: str = "GET", target: str | None = None, *, whole: bool = True) -> Stream:
        """The next request has this head, and with `whole` has come to its end."""
        self.until(lambda: self.requests, "a request")
        stream = Stream(self, self.requests.pop(0))
        head = dict(stream.expect_head())
        assert head[":method"] == method, head
        assert target is None or head[":path"] == target, head
        if whole:
            stream.expect_end()
        return stream


class Http2Scripted:
    """A listening socket for HTTP/2; `accept` gives the connections one by one."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def accept(self, settings: Mapping[int, int] | None = None) -> Http2Server:
        connection = self.accept_nothing()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        server = keep(Http2Server(connection))
        server.begin(settings)
        return server

    def accept_nothing(self) -> socket.socket:
        """A connection of which not even TLS has begun."""
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(PATIENCE_S)
        return connection

    def is_called(self) -> bool:
        """Whether a connection waits to be accepted now."""
        return bool(select.select([self._listener], [], [], 0)[0])

    def close(self) -> None:
        self._listener.close()


def http2_scripted(*, tls: ssl.SSLContext | None = None) -> Http2Scripted:
    """With `tls` each connection is accepted with its handshake."""
    return keep(Http2Scripted(tls))


class Http2Origin:
    """An origin that speaks HTTP/2 by itself, on threads: /echo, /bytes/N, and ok for the rest."""

    def __init__(self, settings: Mapping[int, int] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.name = str(self.port)
        self.requests = 0
        self.connections = 0
        self._settings = settings
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        if self._tls is not None:
            try:
                plain, connection = connection, self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                self._open.discard(connection)
                return connection.close()
            self._open.discard(plain)
            self._open.add(connection)
        server = Http2Server(connection)
        # A connection lies idle for as long as the proxy likes.
        connection.settimeout(None)
        try:
            server.begin(self._settings)
            waiting: list[int] = []
            while not server.ended:
                server.pump()
                waiting += server.requests
                server.requests.clear()
                for number in [number for number in waiting if server.received[number].ended]:
                    waiting.remove(number)
                    self._answer(Stream(server, number))
        except (OSError, AssertionError, h2.exceptions.H2Error):
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer(self, stream: Stream) -> None:
        self.requests += 1
        got = stream.got
        assert got.head is not None
        head = dict(got.head)
        path = head[":path"]
        body = b"ok\n"
        if path.startswith("/echo"):
            body = json.dumps(
                {
                    "method": head[":method"],
                    "target": path,
                    "version": "HTTP/2.0",
                    "headers": got.head,
                    "body": bytes(got.body[:1000]).decode("latin-1"),
                    "body_bytes": len(got.body),
                    "trailers": got.trailers,
                    "origin": self.name,
                }
            ).encode()
        elif path.startswith("/bytes/"):
            body = b"x" * int(path.rpartition("/")[2])
        fields = [("x-origin", self.name), ("content-length", str(len(body)))]
        stream.respond(200, b"" if head[":method"] == "HEAD" else body, fields)


def http2_origin(
    *, settings: Mapping[int, int] | None = None, tls: ssl.SSLContext | None = None
) -> Http2Origin:
    return keep(Http2Origin(settings, tls))
