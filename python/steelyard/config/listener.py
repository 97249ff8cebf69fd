"""Listeners: where connections are accepted, and what a client may do there."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from steelyard.config.base import Model, Name, one_of
from steelyard.config.http3 import Http3OrOff
from steelyard.config.tls import HttpsPort, ListenerTls
from steelyard.config.units import Count, CountOrOff, DurationOrOff, Size, WrittenCount, parse_count, refuse

__all__ = ["Listener", "Strings"]

Strings = Annotated[tuple[str, ...], Field(strict=False)]


def auto_or_count(value: object) -> int | None:
    if value == "auto":
        return None
    if value == "off":
        raise refuse("connections are never without a bound", '"auto" is as many as the descriptors allow')
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse('expected a whole number or "auto"')
    return parse_count(value, off=False)


def must_be_list(value: object) -> object:
    if isinstance(value, str):
        raise refuse("expected a list", f'write ["{value}"]')
    if value == []:
        raise refuse("there is no address", 'for instance [":8080"]')
    return value


class ListenerLimits(Model):
    """Bounds on what a client may send."""

    connections: Annotated[
        int | None,
        BeforeValidator(auto_or_count, json_schema_input_type=WrittenCount | Literal["auto"]),
        PlainSerializer(lambda value: "auto" if value is None else value),
    ] = Field(default="auto", validate_default=True)
    """Open connections, over UDP sessions; "auto" is bounded by the file descriptors of the process, and for
    sessions by the ports that the system gives out."""
    header_bytes: Size = Field(default="64k", validate_default=True)
    """The whole head of one request."""
    header_count: Count = 100
    """Header fields of one request."""
    target_bytes: Size = Field(default="8k", validate_default=True)
    """The target of one request: path and query."""
    streams: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Requests at once on one connection of HTTP/2 or HTTP/3."""
    resets: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Requests that such a client may cancel within a minute, beside one for each that is answered."""
    control_frames: Annotated[int, Field(ge=100, le=10_000_000)] = 1000
    """Frames without content, such as PING, that such a client may send within a minute, beside one for
    every 32 bytes that are carried."""


class ListenerTimeouts(Model):
    """How long a client may take."""

    handshake: DurationOrOff = Field(default="10s", validate_default=True)
    """A TLS handshake, or what goes before it: a PROXY header, and the name that a route goes by."""
    request_header: DurationOrOff = Field(default="10s", validate_default=True)
    """The whole request head."""
    request_body: DurationOrOff = Field(default="30s", validate_default=True)
    """Between bytes of a request body."""
    idle: DurationOrOff = Field(default="60s", validate_default=True)
    """Between requests on one connection; over UDP, how long nothing may move in a session."""


class Listener(Model):
    """An address, or several, that accept clients."""

    bind: Annotated[Strings, BeforeValidator(must_be_list), Field(min_length=1)]
    """":8080" (IPv6 and IPv4), "1.2.3.4:80", "[::1]:80" or "unix:/path"."""
    protocol: Annotated[Literal["http", "tcp", "udp"], one_of("protocol", "http", "tcp", "udp")] = "http"
    """"http" routes requests one by one; "tcp" carries connections as they are, "udp" datagrams."""
    pool: Name | None = None
    """The pool for what no route claims; without it requests are answered 404, and connections end."""
    proxy_protocol: bool = False
    """Whether connections from `trusted_proxies`, and over unix sockets, begin with a header of the PROXY
    protocol (version 1 or 2), which says who the client is."""
    trusted_proxies: Strings = ()
    """Networks (CIDR) whose X-Forwarded-* fields and PROXY headers are believed."""
    allow_encoded_slash: bool = False
    """Whether %2F in a path is let through; otherwise it is answered 400."""
    responses: CountOrOff = None
    """UDP: a session ends once so many datagrams have come back for each of the client's; 1 fits DNS."""
    redirect_https: HttpsPort = None
    """true sends every request to the same URL over HTTPS; or the port to send it to."""
    tls: ListenerTls | None = None
    """TLS towards clients; without it clear text."""
    http3: Http3OrOff = None
    """true speaks HTTP/3 too, over UDP on the same addresses; needs tls."""
    limits: ListenerLimits = ListenerLimits()
    timeouts: ListenerTimeouts = ListenerTimeouts()

    @model_validator(mode="before")
    @classmethod
    def offer_nothing_unasked(cls, data: object) -> object:
        """What is spoken within a connection that is carried as it is only its endpoints know."""
        if not isinstance(data, dict) or data.get("protocol", "http") == "http":
            return data
        tls = data.get("tls")
        return {**data, "tls": {"alpn": [], **tls}} if isinstance(tls, dict) else data
