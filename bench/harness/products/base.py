"""What a product is, and where and for what it is started."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

REPOSITORY = Path(__file__).resolve().parents[3]

FORWARDED_FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id")


@dataclass(frozen=True)
class Front:
    """What clients speak to a proxy."""

    protocol: Literal["http1", "http2", "tcp"] = "http1"
    tls: bool = False
    # Whether sessions of TLS may be resumed; if not, tickets and caches are off.
    resumes: bool = False
    # Whether bodies are large, so that it pays to let the kernel move them.
    is_bulk: bool = False

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"


@dataclass(frozen=True)
class Certificate:
    """The one certificate of all: its file, its key's, and both in one."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Place:
    """Where a proxy listens and for what, to whom it forwards, and a folder of its own."""

    port: int
    endpoints: tuple[int, ...]
    folder: Path
    front: Front
    certificate: Certificate


class Product(Protocol):
    """One proxy that can be started."""

    name: str
    parses: bool

    def command(self, place: Place) -> list[str]:
        """Writes its configuration and says how it is started, in the foreground."""

    def version(self) -> str:
        """What it calls itself."""


def program(name: str) -> str:
    """The path of an installed program; Debian keeps these where only root's PATH leads."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if found is None:
        raise FileNotFoundError(name)
    return found
