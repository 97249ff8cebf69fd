"""What is measured: each scenario is what proxies are configured for, a load, and the bars."""

from dataclasses import dataclass
from typing import Literal

from harness.products.base import Front

CONNECTIONS = 64
BULK_CONNECTIONS = 16
H2_CONNECTIONS = 16
H2_STREAMS = 16

# In so many rounds those that are there for context take part.
CONTEXT_ROUNDS = 3


@dataclass(frozen=True)
class Bound:
    """The most that Steelyard may need in CPU, as a share of what the best of these needs."""

    against: tuple[str, ...]
    limit: float


@dataclass(frozen=True)
class Scenario:
    """One row of the comparison."""

    # What it is called on the command line.
    name: str
    title: str
    # What is particular to it, for the report.
    method: str
    front: Front
    compared: tuple[str, ...]
    bounds: tuple[Bound, ...]
    # These are measured at saturation alone: a rate that they reach would be a low one for the others.
    context: tuple[str, ...] = ()
    unit: Literal["request", "handshake", "MiB"] = "request"
    connections: int = CONNECTIONS
    streams: int = 1
    # For the load generator, beside what follows from the rest.
    generator: tuple[str, ...] = ()

    @property
    def units(self) -> str:
        return self.unit if self.unit == "MiB" else f"{self.unit}s"

    @property
    def at_once(self) -> int:
        """Requests under way at the most."""
        return self.connections * self.streams


HTTP1 = Scenario(
    name="http1",
    title="Small keep-alive requests, HTTP/1.1",
    method=f"{CONNECTIONS} keep-alive connections, 62-byte bodies.",
    front=Front(),
    compared=("relay", "nginx", "haproxy", "steelyard"),
    context=("envoy", "caddy"),
    bounds=(Bound(("nginx",), 0.88), Bound(("relay",), 1.25)),
)

TCP = Scenario(
    name="tcp",
    title="Small messages over TCP",
    method=f"""\
The proxies see a stream of bytes. {CONNECTIONS} connections that stay, on which the same small requests and
answers go back and forth as in HTTP/1.1.""",
    front=Front(protocol="tcp"),
    compared=("relay", "haproxy", "steelyard"),
    bounds=(Bound(("relay",), 1.15), Bound(("haproxy",), 0.95)),
)

_BULK = f"""\
{BULK_CONNECTIONS} connections that stay, each answer has a body of 1 MiB.
HAProxy lets the kernel move it (splice)."""

TCP_BULK = Scenario(
    name="tcp-bulk",
    title="Bodies of 1 MiB over TCP",
    method=f"The proxies see a stream of bytes. {_BULK}",
    front=Front(protocol="tcp", is_bulk=True),
    compared=("relay", "haproxy", "steelyard"),
    bounds=(Bound(("haproxy",), 1.05),),
    unit="MiB",
    connections=BULK_CONNECTIONS,
    generator=("--path", "/bytes/1048576"),
)

HTTP1_BULK = Scenario(
    name="http1-bulk",
    title="Bodies of 1 MiB, HTTP/1.1",
    method=_BULK,
    front=Front(is_bulk=True),
    compared=("nginx", "haproxy", "steelyard"),
    bounds=(Bound(("haproxy",), 1.05),),
    unit="MiB",
    connections=BULK_CONNECTIONS,
    generator=("--path", "/bytes/1048576"),
)

_TLS = """\
TLS 1.3 with TLS_AES_128_GCM_SHA256, X25519 and one P-256 certificate for all (checked)."""

TLS = Scenario(
    name="tls",
    title="Small keep-alive requests, HTTP/1.1 over TLS",
    method=f"{CONNECTIONS} keep-alive connections, 62-byte bodies.\n{_TLS}",
    front=Front(tls=True),
    compared=("nginx", "haproxy", "steelyard"),
    context=("envoy", "caddy"),
    bounds=(Bound(("nginx", "haproxy"), 0.9),),
)

TLS_FULL = Scenario(
    name="tls-full",
    title="Full TLS handshakes",
    method=f"""\
{CONNECTIONS} at once: connect, shake hands, say goodbye, see the other side close. Tickets and caches are
off; the generator saw no session resumed (checked).
{_TLS}""",
    front=Front(tls=True),
    compared=("nginx", "haproxy", "steelyard"),
    bounds=(Bound(("nginx", "haproxy"), 0.9),),
    unit="handshake",
    generator=("--handshakes", "full"),
)

TLS_RESUMED = Scenario(
    name="tls-resumed",
    title="Resumed TLS handshakes",
    method=f"""\
The same with a ticket, which is used once, and a key exchange; hardly any handshake was full (checked).
{_TLS}""",
    front=Front(tls=True, resumes=True),
    compared=("nginx", "haproxy", "steelyard"),
    bounds=(Bound(("nginx", "haproxy"), 0.9),),
    unit="handshake",
    generator=("--handshakes", "resumed"),
)

_STREAMS = (
    f"{H2_CONNECTIONS} connections with {H2_STREAMS} streams each, 62-byte bodies, HTTP/1.1 to the endpoints."
)

HTTP2 = Scenario(
    name="http2",
    title="HTTP/2 in clear text",
    method=f"{_STREAMS}\nThe client knows beforehand that HTTP/2 is spoken.",
    front=Front(protocol="http2"),
    compared=("nginx", "haproxy", "steelyard"),
    context=("envoy", "caddy"),
    bounds=(Bound(("nginx", "haproxy"), 1.1),),
    connections=H2_CONNECTIONS,
    streams=H2_STREAMS,
)

HTTP2_TLS = Scenario(
    name="http2-tls",
    title="HTTP/2 over TLS",
    method=f"{_STREAMS}\n{_TLS}",
    front=Front(protocol="http2", tls=True),
    compared=("nginx", "haproxy", "steelyard"),
    context=("envoy", "caddy"),
    bounds=(Bound(("nginx", "haproxy"), 1.1),),
    connections=H2_CONNECTIONS,
    streams=H2_STREAMS,
)

SCENARIOS = (HTTP1, HTTP1_BULK, TCP, TCP_BULK, TLS, TLS_FULL, TLS_RESUMED, HTTP2, HTTP2_TLS)
