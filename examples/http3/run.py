"""HTTP/3 in front of a server that knows HTTP/1.1 alone: a client is told of it over TCP, and comes by UDP.

Needs the command openssl, and a client: pip install aioquic. Run it with the interpreter that steelyard is
installed for.
"""

import asyncio
import json
import re
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived

from steelyard import ConfigSource, Control
from steelyard.origin import Origin

CONFIGURATION = """
[listeners.web]
bind = ["127.0.0.1:0"]
pool = "app"
http3 = true

[listeners.web.tls]
certificates = [{{ cert = "site.pem", key = "site.key" }}]

[pools.app]
endpoints = ["{endpoint}"]
"""


def certificate(folder: Path) -> None:
    """A certificate that vouches for itself; a real one comes from an authority."""
    names = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    files = ["-keyout", str(folder / "site.key"), "-out", str(folder / "site.pem")]
    subprocess.run(["openssl", "req", "-x509", *key, *names, *files], check=True, capture_output=True)


class Client(QuicConnectionProtocol):
    """Just enough of a client."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.http, self.body = H3Connection(self._quic), b""
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        for one in self.http.handle_event(event):
            if isinstance(one, DataReceived):
                self.body += one.data
        if isinstance(event, StreamDataReceived) and event.end_stream and not self.answer.done():
            self.answer.set_result(self.body)

    async def get(self, path: str) -> bytes:
        head = {":method": "GET", ":scheme": "https", ":authority": "localhost", ":path": path}
        fields = [(name.encode(), value.encode()) for name, value in head.items()]
        self.http.send_headers(self._quic.get_next_available_stream_id(), fields, end_stream=True)
        self.transmit()
        return await self.answer


async def over_http3(port: int, believed: Path) -> bytes:
    configuration = QuicConfiguration(alpn_protocols=["h3"], server_name="localhost")
    configuration.load_verify_locations(cafile=str(believed))
    making = connect("127.0.0.1", port, configuration=configuration, create_protocol=Client)
    async with making as client:
        assert isinstance(client, Client)
        return await client.get("/echo")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, Origin() as origin:
        folder = Path(name)
        certificate(folder)
        file = folder / "steelyard.toml"
        file.write_text(CONFIGURATION.format(endpoint=origin.address))
        source = ConfigSource.file(file)
        control = Control.start(source, source.load())
        try:
            port = int(control.status()["listeners"][0]["bind"][0].rpartition(":")[2])
            believed = ssl.create_default_context(cafile=folder / "site.pem")
            with urllib.request.urlopen(f"https://localhost:{port}/", context=believed) as reply:
                told = reply.headers["alt-svc"]
            print("over TCP the client is told:", re.sub(str(port), "PORT", told))
            answer = json.loads(asyncio.run(over_http3(port, folder / "site.pem")))
            fields = dict(answer["headers"])
            print(f"over UDP it asks for {answer['target']}, by {fields['x-forwarded-proto']}")
            counts = control.status()["listeners"][0]["http3"]
            print(f"of HTTP/3 there was {counts['requests']} request")
        finally:
            control.close()


if __name__ == "__main__":
    main()
