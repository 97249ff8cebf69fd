"""A small real HTTP/1.1 origin for tests, demonstrations and benchmarks, which can be told to misbehave.

It runs on native threads inside this process (`Origin`) or as the command `steelyard-origin`.
"""

import json
import signal
import sys
from types import TracebackType
from typing import Self

from steelyard import _core

__all__ = ["Origin", "main"]


class Origin:
    """An origin that serves from its creation until it is closed.

    `port` 0 takes a free one. Durations are text with a unit, as in the configuration. `fault` is a path
    without its first slash (`"reset"`, `"short/10"`, `"status/503"`): every request but probes is answered as
    that path would be. Raises `OSError` when the address cannot be bound and `ValueError` when an option
    makes no sense.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        name: str | None = None,
        delay: str = "0s",
        concurrency: int | None = None,
        status: int = 200,
        body_bytes: int = 62,
        workers: int = 1,
        fault: str | None = None,
        idle_timeout: str = "0s",
    ) -> None:
        options = {
            "listen": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "name": name,
            "delay": delay,
            "concurrency": concurrency,
            "status": status,
            "body_bytes": body_bytes,
            "workers": workers,
            "fault": fault,
            "idle_timeout": idle_timeout,
        }
        self._core = _core.Origin.start(json.dumps(options))
        self.host = host
        self.port = self._core.port

    @property
    def address(self) -> str:
        """Where it listens, as an endpoint of the configuration is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def stats(self) -> dict[str, int]:
        """What it has counted so far.

        `requests`, `probes`, `bad_requests`, `aborted` (the client left too early), `connections`, and
        of the present moment `open` (connections) and `in_flight` (requests), with `in_flight_max`.
        """
        counts: dict[str, int] = json.loads(self._core.stats())
        return counts

    def close(self) -> None:
        """Stops at once: the port is closed and every connection reset, as when a process is killed."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Origin({self.address!r})"


def main() -> None:
    """The command `steelyard-origin`."""
    # The native side waits for the signal; Python's own handler would raise KeyboardInterrupt afterwards.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_core.origin_main(sys.argv[1:]))


if __name__ == "__main__":
    main()
