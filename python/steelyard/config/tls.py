"""TLS, towards clients and towards endpoints. The engine reads the files and says what is wrong with them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo

from steelyard.config.acme import CertifiedNames
from steelyard.config.base import Model, one_of
from steelyard.config.units import CountOrOff, Duration, refuse

__all__ = ["PORT_MAX", "HttpsPort", "ListenerTls", "PoolTls", "tls_or_none"]

HTTPS_PORT = 443
PORT_MAX = 65_535
HSTS_MAX_AGE_MS = 2 * 365 * 24 * 3600 * 1000
"""Two years, as Mozilla recommends."""


def file_path(value: object, info: ValidationInfo) -> str:
    """A relative path is one from the folder of the configuration."""
    if not isinstance(value, str) or not value:
        raise refuse("expected the path of a file", 'for instance "site.pem"')
    return str(Path((info.context or {}).get("folder", "."), value).absolute())


File = Annotated[str, PlainValidator(file_path, json_schema_input_type=str)]


def version_text(value: object) -> object:
    if isinstance(value, float | int) and not isinstance(value, bool):
        raise refuse("expected a version in quotes", f'write "{value}"')
    return value


Version = Annotated[
    Literal["1.2", "1.3"], one_of("version of TLS", "1.2", "1.3"), BeforeValidator(version_text)
]


class Certificate(Model):
    """A certificate chain and its private key, both in PEM."""

    cert: File
    """The chain: the certificate itself first, then those of authorities between it and the root."""
    key: File
    """The private key, without a password."""


class Hsts(Model):
    """What browsers are told: to come back over HTTPS only."""

    max_age: Duration = Field(default=HSTS_MAX_AGE_MS)
    """How long they remember it."""
    include_subdomains: bool = False
    """Whether it holds for all names below this one too."""
    preload: bool = False
    """Whether it may be built into browsers; that is hard to take back."""


def hsts_or_none(value: object) -> object:
    if value is True:
        return {}
    if value is False:
        return None
    if isinstance(value, str):
        return {"max_age": value}
    if isinstance(value, dict | Hsts) or value is None:
        return value
    raise refuse("expected true, a duration or a table", 'for instance true, or "365d"')


def hsts_text(hsts: Hsts | None) -> Any:
    if hsts is None:
        return None
    return True if hsts == Hsts() else hsts.model_dump(mode="json")


def must_be_list(value: object, info: ValidationInfo) -> object:
    if isinstance(value, dict):
        raise refuse("expected a list", 'write [{ cert = "site.pem", key = "site.key" }]')
    if value in ([], ()) and "acme" in info.data and not info.data["acme"]:
        raise refuse("there is no certificate", 'for instance [{ cert = "site.pem", key = "site.key" }]')
    return value


def protocol_list(value: object) -> object:
    if isinstance(value, str):
        raise refuse("expected a list", f'write ["{value}"]')
    return value


class ListenerTls(Model):
    """TLS towards clients."""

    acme: CertifiedNames = ()
    """Names whose certificates are obtained and renewed by themselves; [acme] says from whom."""
    certificates: Annotated[
        tuple[Certificate, ...],
        BeforeValidator(must_be_list),
        Field(strict=False, validate_default=True),
    ] = ()
    """Chosen by the name that a client asks for, exact before wildcard; the first stands for all other names.
    Their files are watched, and loaded anew when they change."""
    alpn: Annotated[tuple[str, ...], BeforeValidator(protocol_list), Field(strict=False)] = (
        "h2",
        "http/1.1",
    )
    """The protocols that are spoken over it, the most wanted first."""
    min_version: Version = "1.2"
    """The oldest version of TLS that is spoken."""
    client_ca: File | None = None
    """Authorities whose certificates clients show (mutual TLS); without it clients are not asked."""
    client_auth: (
        Annotated[Literal["required", "optional"], one_of("client_auth", "required", "optional")] | None
    ) = None
    """Whether a client without a certificate is refused, which it is unless this says "optional"; a bad one
    always is."""
    tickets: bool = True
    """Whether sessions are resumed by tickets, whose keys rotate every six hours and survive a reload."""
    session_cache: CountOrOff = 1024
    """Sessions that are remembered for clients without a ticket."""
    hsts: Annotated[
        Hsts | None,
        BeforeValidator(hsts_or_none, json_schema_input_type=bool | str | Hsts),
        PlainSerializer(hsts_text),
    ] = None
    """true tells browsers for two years to come back over HTTPS only; or a duration, or a table."""


class PoolTls(Model):
    """TLS towards endpoints."""

    verify: bool = True
    """Whether an endpoint has to prove who it is."""
    ca: File | None = None
    """Authorities that are believed; without it those of the system."""
    server_name: str | None = None
    """The name that every endpoint is asked for and has to prove; without it its own host."""
    cert: File | None = None
    """Our own certificate chain, for endpoints that ask for one."""
    key: File | None = None
    """Its private key."""
    min_version: Version = "1.2"
    """The oldest version of TLS that is spoken."""


def tls_or_none(value: object) -> object:
    """`tls = true` is TLS with every default."""
    if value is True:
        return {}
    return None if value is False else value


def parse_port(value: object) -> int | None:
    if isinstance(value, bool) or value is None:
        return HTTPS_PORT if value else None
    if not isinstance(value, int) or not 1 <= value <= PORT_MAX:
        raise refuse("expected true or a port", f"from 1 to {PORT_MAX}; true is {HTTPS_PORT}")
    return value


HttpsPort = Annotated[
    int | None,
    BeforeValidator(parse_port, json_schema_input_type=bool | Annotated[int, Field(ge=1, le=PORT_MAX)]),
    PlainSerializer(lambda port: True if port == HTTPS_PORT else port),
]
