"""DNS over UDP: three resolvers behind one address, each query balanced for itself, and one that goes away.

Run it with the interpreter that steelyard is installed for. The resolvers are played: each has one answer.
"""

import socket
import struct
import tempfile
import threading
from collections import Counter
from pathlib import Path

from steelyard import ConfigSource, Control

CONFIGURATION = """
[listeners.dns]
bind = ["127.0.0.1:0"]
protocol = "udp"
responses = 1                          # a session ends with its answer
timeouts = {{ idle = "2s" }}           # or without one after this
pool = "resolvers"

[pools.resolvers]
policy = "round_robin"
endpoints = {endpoints}

[pools.resolvers.health]               # a query for the name servers of the root; any answer is a good one
udp = "hex:0000010000010000000000000000020001"
interval = "50ms"
rise = 1
fall = 1
"""
HEADER_BYTES = 12


class Resolver:
    """Every name has one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._ends = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._ends = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if self._ends:
                return
            if len(query) > HEADER_BYTES:
                self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        """A response with the question and one A record, whose name points to that of the question."""
        header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(self._address)
        return header + query[HEADER_BYTES:] + record


def look_up(name: str, server: tuple[str, int]) -> str:
    """The address of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(server)
        client.send(query)
        return socket.inet_ntoa(client.recv(512)[-4:])


def shares(server: tuple[str, int]) -> str:
    answers = Counter(look_up(f"host-{number}.example", server) for number in range(30))
    return ", ".join(f"{address} {count}" for address, count in sorted(answers.items()))


def verdicts(control: Control) -> list[str]:
    return [str(one["verdict"]) for one in control.status()["pools"][0]["endpoints"]]


def main() -> None:
    resolvers = [Resolver(f"192.0.2.{number}") for number in (1, 2, 3)]
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "steelyard.toml"
        file.write_text(CONFIGURATION.format(endpoints=[one.endpoint for one in resolvers]))
        source = ConfigSource.file(file)
        control = Control.start(source, source.load())
        try:
            host, _, port = control.status()["listeners"][0]["bind"][0].rpartition(":")
            server = (host, int(port))
            while "unknown" in verdicts(control):
                pass
            print(f"three answer: {shares(server)}")
            resolvers.pop().close()
            while verdicts(control)[2] == "healthy":
                pass
            print(f"two answer: {shares(server)}")
        finally:
            control.close()
            for one in resolvers:
                one.close()


if __name__ == "__main__":
    main()
