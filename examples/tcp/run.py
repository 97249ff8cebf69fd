"""Two servers behind one port: connections are carried as they are, and a server that ends is passed over.

Run it with the interpreter that steelyard is installed for.
"""

import socket
import socketserver
import tempfile
import threading
from pathlib import Path

from steelyard import ConfigSource, Control

CONFIGURATION = """
[listeners.db]
bind = ["127.0.0.1:0"]
protocol = "tcp"
pool = "db"

[pools.db]
policy = "round_robin"
endpoints = [{endpoints}]
send_proxy = "v1"
health = {{ interval = "off" }}
"""


class Server(socketserver.ThreadingTCPServer):
    """Says its name and what it was told of the client, then gives back what it is sent."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.name = name
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Server)
        client = self.rfile.readline().split()[2].decode()
        self.wfile.write(f"{self.server.name}, for {client}: ".encode())
        self.wfile.write(self.rfile.read().upper())


def ask(port: int, question: str) -> str:
    """Says all it has to say, and hears all that is answered."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(question.encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("r", encoding="utf-8") as answer:
            return answer.read()


def main() -> None:
    servers = [Server("first"), Server("second")]
    endpoints = ", ".join(f'"{server.address}"' for server in servers)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steelyard.toml"
        file.write_text(CONFIGURATION.format(endpoints=endpoints))
        source = ConfigSource.file(file)
        control = Control.start(source, source.load())
    try:
        (bound,) = control.status()["listeners"][0]["bind"]
        port = int(bound.rpartition(":")[2])
        for answer in sorted(ask(port, "select 1") for _ in range(2)):
            print(answer)
        servers[0].stop()
        print(*(ask(port, "still there?") for _ in range(2)), sep="\n")
    finally:
        control.close()
        servers[1].stop()


if __name__ == "__main__":
    main()
