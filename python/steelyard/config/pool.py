"""Pools: endpoints that can stand in for each other, and how one of them is chosen, watched and talked to."""

import math
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from steelyard.config.address import canonical
from steelyard.config.base import Model, Name, one_of, table_with
from steelyard.config.policy import DEFAULT_POLICY, Policy
from steelyard.config.reported import Reported, agreed
from steelyard.config.tls import PoolTls, tls_or_none
from steelyard.config.units import (
    U32_MAX,
    Count,
    CountOrOff,
    Duration,
    DurationOrOff,
    Size,
    SizeOrOff,
    WrittenDuration,
    WrittenOff,
    refuse,
)

__all__ = [
    "Endpoint",
    "EndpointTable",
    "Health",
    "PanicThreshold",
    "Pool",
    "PoolTimeouts",
    "Queue",
    "Retry",
    "SlowStart",
    "Subset",
    "Threshold",
    "must_be_table",
    "must_have_endpoints",
]


DURATION_OR_OFF: TypeAdapter[int | None] = TypeAdapter(DurationOrOff)
PROBE_TIMEOUT_MS = 2_000


class EndpointTable(Model):
    """An endpoint with more than its address."""

    address: Annotated[str, AfterValidator(canonical)]
    """"10.0.0.1:8080", "[::1]:8080", "name:8080" or "unix:/path"."""
    weight: Annotated[int, Field(ge=0, le=U32_MAX)] = 1
    """Its share beside the others; 0 takes no new requests."""
    zone: Name | None = None
    """Where it stands; those in the zone of this process (`zone` at the top of the file) are preferred."""
    priority: Annotated[int, Field(ge=0, le=U32_MAX)] = 0
    """The lower one is used first; up to 8 different ones."""


def write_endpoint(endpoint: EndpointTable) -> object:
    settings = endpoint.model_dump(exclude_defaults=True)
    return endpoint.address if settings.keys() == {"address"} else settings


Endpoint = Annotated[
    EndpointTable,
    BeforeValidator(
        table_with("address", "an address", '"127.0.0.1:9001"'), json_schema_input_type=str | EndpointTable
    ),
    PlainSerializer(write_endpoint),
]


AGGRESSION = (0.01, 100.0)
MIN_WEIGHT = (0.001, 1.0)


def number_between(what: str, bounds: tuple[float, float]) -> BeforeValidator:
    """Takes a number within bounds; TOML's 1 means 1.0."""
    low, high = bounds

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse("expected a number", f"from {low:g} to {high:g}")
        if not low <= value <= high:
            raise refuse(f"{value:g} is no {what}", f"from {low:g} to {high:g}")
        return float(value)

    return BeforeValidator(check, json_schema_input_type=Annotated[float, Field(ge=bounds[0], le=bounds[1])])


class SlowStartTable(Model):
    """How an endpoint that joins or comes back gets its share little by little."""

    window: Duration
    """Until its weight is whole."""
    aggression: Annotated[float, number_between("aggression", AGGRESSION)] = 1.0
    """1 grows in proportion to age; above, faster at first."""
    min_weight: Annotated[float, number_between("part of a weight", MIN_WEIGHT)] = 0.1
    """The part of the weight that counts at least."""


def write_slow_start(slow_start: SlowStartTable | None) -> object:
    if slow_start is None:
        return "off"
    settings = slow_start.model_dump(exclude_defaults=True)
    return settings["window"] if settings.keys() == {"window"} else settings


def read_slow_start(value: object) -> object:
    if value is None or value == "off":
        return None
    return value if isinstance(value, dict | SlowStartTable) else {"window": value}


SlowStart = Annotated[
    SlowStartTable | None,
    BeforeValidator(read_slow_start, json_schema_input_type=WrittenDuration | WrittenOff | SlowStartTable),
    PlainSerializer(write_slow_start),
]


class Subset(Model):
    """The part of many endpoints that one of many instances talks to."""

    size: Count
    """Endpoints of each priority."""
    instance: Annotated[int, Field(ge=0, le=U32_MAX)]
    """The number of this instance, from 0."""
    instances: Count
    """How many instances there are."""

    @model_validator(mode="after")
    def is_one_of_them(self) -> Self:
        if self.instance >= self.instances:
            raise refuse(
                f"there is no instance {self.instance} of {self.instances}",
                f"they are numbered from 0 to {self.instances - 1}",
            )
        return self


def parse_panic(value: object) -> object:
    if value in ("auto", "off") and isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse('expected a percentage, "auto" or "off"', "for instance 50")
    if value == 0:
        raise refuse("0 is no threshold", 'write "off" for no panic')
    if not 0 < value <= 100:
        raise refuse(f"{value} is no percentage", 'from 1 to 100, or "off"')
    return value


PanicThreshold = Annotated[
    int | Literal["auto", "off"],
    BeforeValidator(
        parse_panic,
        json_schema_input_type=Literal["auto", "off"] | Annotated[int, Field(ge=1, le=100)],
    ),
]


class Threshold(Model):
    """The loads at which an endpoint leaves the rotation; each is off unless present."""

    requests: CountOrOff = None
    """Requests in flight at once."""
    latency: DurationOrOff = None
    """Smoothed response time."""
    bytes_per_second: SizeOrOff = None
    """Both directions together."""


class Queue(Model):
    """Where requests wait when every endpoint is at its threshold."""

    size: CountOrOff = 1024
    """Requests that may wait; "off" = none may."""
    timeout: DurationOrOff = Field(default="5s", validate_default=True)
    """How long one may wait before it is answered 503 with Retry-After."""


def parse_status_range(value: object) -> tuple[int, int]:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    low, dash, high = text.partition("-") if isinstance(text, str) else ("", "", "")
    high = high if dash else low
    if not all(len(part) == 3 and part.isascii() and part.isdecimal() for part in (low, high)):
        raise refuse(f'"{value}" is no range of status codes', 'for instance "200-399" or "204"')
    if not 100 <= int(low) <= int(high) <= 599:
        raise refuse(f'"{value}" is no range of status codes', "from 100 to 599, the lower one first")
    return int(low), int(high)


StatusRange = Annotated[
    tuple[int, int],
    BeforeValidator(
        parse_status_range,
        json_schema_input_type=Annotated[int, Field(ge=100, le=599)]
        | Annotated[str, Field(pattern="^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")],
    ),
    PlainSerializer(lambda pair: str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"),
]


class Health(Model):
    """Active health checks."""

    path: Annotated[str, Field(pattern="^/")] | None = None
    """The path of an HTTP probe; without it the probe is a TCP connect."""
    grpc: str | None = None
    """The service of a gRPC health check (grpc.health.v1), "" for the whole server; needs HTTP/2."""
    host: str | None = None
    """The Host of an HTTP probe; without it the endpoint's address."""
    interval: DurationOrOff = Field(default="5s", validate_default=True)
    """Between two probes of one endpoint; "off" = no probes, and every endpoint counts as healthy."""
    timeout: Duration = Field(default="2s", validate_default=True)
    """For one whole probe; unless it is given, no longer than the interval."""
    rise: Count = 2
    """Good probes in a row that make an unhealthy endpoint healthy."""
    fall: Count = 3
    """Bad probes in a row that make a healthy endpoint unhealthy."""
    expect_status: Annotated[tuple[StatusRange, ...], Field(strict=False, min_length=1)] = Field(
        default=["200-399"], validate_default=True
    )
    """Good status codes."""

    @model_validator(mode="before")
    @classmethod
    def end_before_the_next(cls, data: object) -> object:
        """A probe that is given no time of its own may take as long as the interval, where that is short."""
        if not isinstance(data, dict) or "timeout" in data or "interval" not in data:
            return data
        try:
            interval = DURATION_OR_OFF.validate_python(data["interval"])
        except ValidationError:
            # The interval's own rules say what is wrong with it.
            return data
        if interval is None or interval >= PROBE_TIMEOUT_MS:
            return data
        return {**data, "timeout": data["interval"]}


class Connections(Model):
    """Connections to the endpoints, per worker and endpoint, but `max`."""

    idle_timeout: DurationOrOff = Field(default="4s", validate_default=True)
    """How long one may lie idle; under what common servers use (5 s)."""
    idle_max: Count = 64
    """Idle connections kept."""
    max: CountOrOff = None
    """All connections to one endpoint, over all workers."""


class PoolTimeouts(Model):
    """How long an endpoint may take."""

    connect: DurationOrOff = Field(default="2s", validate_default=True)
    """To accept a connection."""
    response: DurationOrOff = Field(default="30s", validate_default=True)
    """From the request sent to the response head."""
    idle: DurationOrOff = Field(default="60s", validate_default=True)
    """Between bytes of a response body."""
    tunnel: DurationOrOff = Field(default="1h", validate_default=True)
    """Of an idle upgraded connection."""
    total: DurationOrOff = None
    """The whole request, retries included."""


RETRY_CAUSES = ("connect", "reset-before-response", "5xx", "timeout")
RetryOn = Annotated[
    Literal["connect", "reset-before-response", "5xx", "timeout"],
    one_of("cause of a retry", *RETRY_CAUSES),
]


def parse_budget(value: object) -> float | None:
    if value == "off":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse('expected a number of retries per request or "off"', "for instance 0.2")
    if not math.isfinite(value):
        raise refuse(f"{value} is no number of retries per request", "for instance 0.2")
    if value == 0:
        raise refuse("0 is no budget", '"off" is no bound on retries; attempts = 1 is no retries')
    return float(value)


class Retry(Model):
    """When a request is tried again on another endpoint."""

    attempts: Count = 2
    """Tries in all; 1 = no retries. Connect failures are not counted."""
    on: Annotated[tuple[RetryOn, ...], Field(strict=False)] = ("connect", "reset-before-response")
    """What is repeated; beyond "connect" only requests that are safe to repeat."""
    body_bytes_max: Size = Field(default="64k", validate_default=True)
    """A larger request body is not kept for a repeat."""
    budget: Annotated[
        float | None,
        BeforeValidator(
            parse_budget, json_schema_input_type=Annotated[float, Field(gt=0, le=1)] | WrittenOff
        ),
        PlainSerializer(lambda value: "off" if value is None else value),
    ] = 0.2
    """Retries per request, over 10 s, plus 10 a second; "off" = no bound."""


def must_be_table(value: object) -> object:
    if isinstance(value, str):
        raise refuse("expected a table", f'write {{ path = "{value}" }}')
    return value


def must_have_endpoints(value: object) -> object:
    if isinstance(value, str):
        raise refuse("expected a list", f'write ["{value}"]')
    if value == []:
        raise refuse("the pool has no endpoints", 'for instance ["127.0.0.1:9001"]')
    return value


PROTOCOLS = ("http1", "h2c", "h2", "auto")
LOADS = ("requests", "latency", "bytes", "reported")


class Pool(Model):
    """Endpoints that can stand in for each other."""

    policy: Policy = Field(default=DEFAULT_POLICY, validate_default=True)
    """How an endpoint is chosen."""
    endpoints: Annotated[
        tuple[Endpoint, ...], BeforeValidator(must_have_endpoints), Field(strict=False, min_length=1)
    ]
    """Addresses, or tables such as { address = "10.0.0.2:8080", weight = 3 }."""
    load: Annotated[Literal["requests", "latency", "bytes", "reported"], one_of("load", *LOADS)] = "requests"
    """What least_load compares."""
    reported: Reported = None
    """What is made of the load that endpoints report in their responses: "weight", "load", or a table."""
    protocol: Annotated[Literal["http1", "h2c", "h2", "auto"], one_of("protocol", *PROTOCOLS)] = "http1"
    """What is spoken towards the endpoints: "h2c" is HTTP/2 in clear text, as servers of gRPC speak it, "h2"
    the same over TLS, and with "auto" the handshake of TLS decides between "h2" and "http1"."""
    fail_open: bool = True
    """Whether unhealthy endpoints are used when no other is left."""
    panic_threshold: PanicThreshold = "auto"
    """The percentage of available endpoints below which a level (see `priority`) uses all of its own, while
    all levels together cannot carry the load; "auto" = 50 where there are several, else "off". Needs
    `fail_open`."""
    slow_start: SlowStart = None
    """How long an endpoint that joins or comes back takes to get its whole share; or a table."""
    subset: Subset | None = None
    """The part of many endpoints that this one of many instances talks to; without it all of them."""
    tls: Annotated[PoolTls | None, BeforeValidator(tls_or_none, json_schema_input_type=bool | PoolTls)] = None
    """TLS towards the endpoints; true is TLS with every default, without it clear text."""
    threshold: Threshold = Threshold()
    queue: Queue = Queue()
    health: Annotated[Health, BeforeValidator(must_be_table)] = Health()
    connections: Connections = Connections()
    timeouts: PoolTimeouts = PoolTimeouts()
    retry: Retry = Retry()

    @model_validator(mode="before")
    @classmethod
    def agree(cls, data: object) -> object:
        return agreed(data)
