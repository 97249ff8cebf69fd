"""UDP at both ends: clients of one port each, and endpoints that the test plays or that answer alone."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Self

from language.scope import keep
from language.wire import PATIENCE_S

DATAGRAM_BYTES = 65_536

Answer = Callable[[bytes], list[bytes]]


def opened(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)


def written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Port:
    """What the test itself listens at."""

    def __init__(self, host: str) -> None:
        self._socket = opened(host)
        self._socket.settimeout(PATIENCE_S)

    def hears_nothing(self) -> bool:
        """Whether nothing has come up to now."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(DATAGRAM_BYTES)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)
        return False

    def close(self) -> None:
        self._socket.close()


class UdpClient(_Port):
    """One port. It writes to one address, and takes what comes from there alone."""

    def __init__(self, address: tuple[str, int], source: str | None = None, port: int = 0) -> None:
        super().__init__(address[0])
        if source is not None:
            self._socket.bind((source, port))
        # Whatever answers from another address than this is refused by the kernel.
        self._socket.connect(address)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def send(self, datagram: bytes) -> Self:
        self._socket.send(datagram)
        return self

    def receive(self, *, within_s: float = PATIENCE_S) -> bytes:
        self._socket.settimeout(within_s)
        try:
            return self._socket.recv(DATAGRAM_BYTES)
        finally:
            self._socket.settimeout(PATIENCE_S)

    def receive_at(self, peer: "UdpPeer") -> tuple[bytes, tuple[str, int]]:
        """What arrives at the endpoint next, and where it came from."""
        return peer.receive()

    def ask(self, datagram: bytes = b"who") -> bytes:
        return self.send(datagram).receive()


class UdpPeer(_Port):
    """An endpoint that the test plays: it sees each datagram, and from which port of the proxy it came."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host)
        self._socket.bind((host, port))
        self.host = host
        self.port: int = self._socket.getsockname()[1]

    @property
    def address(self) -> str:
        return written(self.host, self.port)

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        """A datagram and where it came from."""
        datagram, source = self._socket.recvfrom(DATAGRAM_BYTES)
        return datagram, source[:2]

    def send(self, datagram: bytes, to: tuple[str, int]) -> None:
        self._socket.sendto(datagram, to)


class UdpServer:
    """An endpoint that answers with what `answer` gives; by default with its name and the datagram."""

    def __init__(
        self, name: str, answer: Answer | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.name = name
        self.received = 0
        self._answer = answer or (lambda datagram: [f"{name} ".encode() + datagram])
        self._host = host
        self._port = port
        self._stop, self._stopped = socket.socketpair()
        self._thread: threading.Thread | None = None
        self.start()

    def start(self) -> Self:
        """On the port that it had before, if it had one."""
        self._socket = opened(self._host)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((self._host, self._port))
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    @property
    def address(self) -> str:
        return written(self._host, self._port)

    def die(self) -> None:
        """Its port is closed: what comes is refused."""
        if self._thread is not None:
            self._stop.send(b"x")
            self._thread.join()
            self._stopped.recv(1)
            self._socket.close()
            self._thread = None

    def close(self) -> None:
        self.die()
        self._stop.close()
        self._stopped.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while True:
                if any(key.fileobj is self._stopped for key, _ in selector.select()):
                    return
                datagram, source = self._socket.recvfrom(DATAGRAM_BYTES)
                self.received += 1
                for answer in self._answer(datagram):
                    self._socket.sendto(answer, source)


def udp_client(address: tuple[str, int], *, source: str | None = None, port: int = 0) -> UdpClient:
    return keep(UdpClient(address, source, port))


def udp_peer(host: str = "127.0.0.1", port: int = 0) -> UdpPeer:
    return keep(UdpPeer(host, port))


def udp_server(
    name: str = "", answer: Answer | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> UdpServer:
    return keep(UdpServer(name, answer, host, port))


def free_address() -> str:
    """An address of this machine that is free for TCP and for UDP."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as over_tcp, opened("127.0.0.1") as over_udp:
            address: tuple[str, int] = over_tcp.getsockname()
            with contextlib.suppress(OSError):
                over_udp.bind(address)
                return written(*address)


def udp_refused_address() -> str:
    """An address of this machine where nobody takes datagrams: they are refused at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
