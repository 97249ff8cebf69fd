"""The relay of this repository: what any proxy in user space must spend at least."""

from pathlib import Path

from harness.products.base import Place


class Relay:
    name = "relay"
    parses = False

    def __init__(self, binaries: Path) -> None:
        self._program = binaries / "relay"

    def command(self, place: Place) -> list[str]:
        to = [word for port in place.endpoints for word in ("--to", f"127.0.0.1:{port}")]
        return [str(self._program), "--listen", f"127.0.0.1:{place.port}", *to]

    def version(self) -> str:
        return "no-parse epoll relay of this repository"
