"""What is measured: each scenario is what proxies are configured for, a load, and the bars."""

from dataclasses import dataclass
from typing import Literal

from harness.products.base import Front

CONNECTIONS = 64


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
    bounds=(Bound(("nginx",), 0.88), Bound(("relay",), 1.25)),
)

SCENARIOS = (HTTP1,)
