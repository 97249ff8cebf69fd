"""The whole configuration: the long form, and the file that may hold the short one."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from steelyard.config.acme import Acme
from steelyard.config.base import Model, Name, one_of
from steelyard.config.listener import Listener, Strings
from steelyard.config.policy import Policy
from steelyard.config.pool import Endpoint, Pool, must_have_endpoints
from steelyard.config.route import Route
from steelyard.config.units import Duration, refuse

__all__ = ["SHORT_FORM", "SHORT_LISTENER", "SHORT_POOL", "Config", "ConfigFile"]

WORKERS_MAX = 1024
SHORT_FORM = ("listen", "endpoints", "health", "policy")
SHORT_LISTENER = "web"
SHORT_POOL = "app"


def parse_workers(value: object) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= WORKERS_MAX:
        raise refuse(
            'expected "auto" or a number of threads', f'from 1 to {WORKERS_MAX}; "auto" is one for each core'
        )
    return value


class Admin(Model):
    """How a running instance is steered."""

    socket: Annotated[str, Field(min_length=1)] = "auto"
    """A unix socket with mode 0600: "auto", a path, or "off"."""


class Log(Model):
    """What is said on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], one_of("level", "debug", "info", "warning", "error")
    ] = "info"
    """The least that is said."""
    format: Annotated[Literal["auto", "text", "json"], one_of("format", "auto", "text", "json")] = "auto"
    """"auto" is text on a terminal and JSON otherwise."""


class Config(Model):
    """A whole configuration in its long form, every default filled in."""

    workers: Annotated[
        int | None,
        BeforeValidator(
            parse_workers,
            json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1, le=WORKERS_MAX)],
        ),
        PlainSerializer(lambda value: "auto" if value is None else value),
    ] = Field(default="auto", validate_default=True)
    """Data-plane threads; "auto" is one for each core this process may use."""
    drain_timeout: Duration = Field(default="25s", validate_default=True)
    """How long requests in flight may take to end when the process stops."""
    zone: Name | None = None
    """Where this process stands: endpoints of the same zone are preferred."""
    admin: Admin = Admin()
    log: Log = Log()
    acme: Acme | None = None
    """Who issues the certificates that listeners name in tls.acme."""
    listeners: dict[Name, Listener] = Field(default_factory=dict)
    """Where connections are accepted, by name."""
    routes: Annotated[tuple[Route, ...], Field(strict=False)] = ()
    """The first that matches wins."""
    pools: dict[Name, Pool] = Field(default_factory=dict)
    """Where requests go, by name."""


def one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def probe_path(value: object) -> object:
    if not isinstance(value, str):
        raise refuse(
            "expected the path of the probe", 'for instance "/healthz"; more is set in [pools.NAME.health]'
        )
    if value != "off" and not value.startswith("/"):
        raise refuse(f'"{value}" is no path', f'did you mean "/{value}"?')
    return value


class ConfigFile(Config):
    """A file: the short form (`listen`, `endpoints`, `health`, `policy`) or the long one."""

    listen: (
        Annotated[
            Strings, BeforeValidator(one_or_more, json_schema_input_type=str | list[str]), Field(min_length=1)
        ]
        | None
    ) = None
    """Short form: where to listen, such as ":8080"."""
    endpoints: (
        Annotated[
            tuple[Endpoint, ...], BeforeValidator(must_have_endpoints), Field(strict=False, min_length=1)
        ]
        | None
    ) = None
    """Short form: where requests go."""
    health: Annotated[str, BeforeValidator(probe_path, json_schema_input_type=str)] | None = None
    """Short form: the path of the health check; without it a TCP connect, "off" for none."""
    policy: Policy | None = None
    """Short form: how an endpoint is chosen."""

    def expanded(self) -> Config:
        """The same in the long form: a listener `web` and a pool `app` for the short one."""
        values: dict[str, Any] = {name: getattr(self, name) for name in Config.model_fields}
        if self.listen is not None and self.endpoints is not None:
            pool: dict[str, Any] = {"endpoints": [endpoint.model_dump() for endpoint in self.endpoints]}
            if self.policy is not None:
                pool["policy"] = self.policy
            if self.health is not None:
                pool["health"] = {"interval": "off"} if self.health == "off" else {"path": self.health}
            values["listeners"] = {
                SHORT_LISTENER: Listener.model_validate({"bind": list(self.listen), "pool": SHORT_POOL})
            }
            values["pools"] = {SHORT_POOL: Pool.model_validate(pool)}
        return Config.model_construct(**values)
