"""Automatic certificates: which authority issues them, for whom, and where they are kept."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo

from steelyard.config.base import Model, one_of
from steelyard.config.units import WrittenDuration, duration_text, parse_duration, refuse

__all__ = ["Acme", "CertifiedNames", "bundle_of", "folder_of"]

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
NAMES_MAX = 100
"""Names of one listener; authorities bound what they issue within a week."""
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME_BYTES_MAX = 253


def secure_url(value: object) -> str:
    if not isinstance(value, str) or urlsplit(value).scheme != "https" or not urlsplit(value).hostname:
        raise refuse("expected the https:// address of a directory", f'for instance "{LETS_ENCRYPT}"')
    return value


def must_agree(value: object) -> object:
    if value is not True:
        raise refuse(
            "the authority issues nothing to those who have not agreed to its terms",
            "read them, then write agree_tos = true",
        )
    return value


def file_in_folder(value: object, info: ValidationInfo) -> Path:
    """A relative path is one from the folder of the configuration."""
    if not isinstance(value, str | Path) or not str(value):
        raise refuse("expected the path of a file")
    return Path((info.context or {}).get("folder", "."), value).absolute()


def folder(value: object, info: ValidationInfo) -> Path | None:
    return None if value == "auto" or value is None else file_in_folder(value, info)


def auto_or_duration(value: object) -> int | None:
    return None if value == "auto" or value is None else parse_duration(value, off=False)


def certified_name(value: object) -> object:
    if not isinstance(value, str):
        raise refuse("expected a host name", 'for instance "www.example.com"')
    name = value.lower().rstrip(".")
    if name.startswith("*."):
        raise refuse(
            f'"{value}" cannot be proved over HTTP or TLS',
            "a wildcard needs a challenge over DNS; name each host, or use certificate files",
        )
    labels = name.split(".")
    if len(labels) < 2 or len(name) > NAME_BYTES_MAX or not all(re.fullmatch(LABEL, one) for one in labels):
        raise refuse(f'"{value}" is no public host name', 'for instance "www.example.com"')
    return name


def name_list(value: object) -> object:
    if isinstance(value, str):
        raise refuse("expected a list", f'write ["{value}"]')
    return value


CertifiedNames = Annotated[
    tuple[Annotated[str, BeforeValidator(certified_name)], ...],
    BeforeValidator(name_list),
    Field(strict=False, max_length=NAMES_MAX),
]
"""Names that certificates are obtained for, one each: another name leaves those that are there alone."""


class Acme(Model):
    """Certificates that are obtained and renewed without anybody's doing (RFC 8555)."""

    agree_tos: Annotated[Literal[True], BeforeValidator(must_agree)]
    """Whether you agree to the terms of the authority."""
    email: Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")] | None = None
    """Where the authority writes to, where it does."""
    directory: Annotated[str, BeforeValidator(secure_url)] = LETS_ENCRYPT
    """The authority's directory."""
    challenge: Annotated[Literal["http-01", "tls-alpn-01"], one_of("challenge", "http-01", "tls-alpn-01")] = (
        "http-01"
    )
    """How names are proved: "http-01" on port 80, or "tls-alpn-01" on port 443."""
    renew_before: Annotated[
        int | None,
        BeforeValidator(auto_or_duration, json_schema_input_type=WrittenDuration | Literal["auto"]),
        PlainSerializer(lambda value: "auto" if value is None else duration_text(value)),
    ] = Field(default="auto", validate_default=True)
    """How long before its end a certificate is renewed; "auto" is when the authority wishes, else when a
    third of its lifetime is left."""
    state: Annotated[
        Path | None,
        PlainValidator(folder, json_schema_input_type=str),
        PlainSerializer(lambda value: "auto" if value is None else str(value)),
    ] = None
    """The folder of keys and certificates: "auto" or a path."""
    ca: Annotated[Path, PlainValidator(file_in_folder, json_schema_input_type=str)] | None = None
    """The roots (PEM) for the authority's own certificate; absent = the public ones."""


def folder_of(acme: Acme, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for what this authority has issued. Nothing is created."""
    host = urlsplit(acme.directory).netloc.replace(":", "_")
    return state_folder(acme, environment) / "acme" / host


def state_folder(acme: Acme, environment: Mapping[str, str]) -> Path:
    if acme.state is not None:
        return acme.state
    # systemd gives several where several were asked for.
    if ours := environment.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(ours)
    if os.geteuid() == 0:
        return Path("/var/lib/steelyard")
    if home := environment.get("XDG_STATE_HOME"):
        return Path(home) / "steelyard"
    return Path.home() / ".local/state/steelyard"


def bundle_of(acme: Acme, name: str) -> Path:
    """The one file with key and certificate for a name; it may not be there yet."""
    return folder_of(acme) / "certificates" / f"{name}.pem"
