"""A scenario: endpoints, requests, what goes wrong, and the policies to compare."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from steelyard.config.base import Model, Name, one_of
from steelyard.config.policy import Policy
from steelyard.config.pool import (
    Health,
    PanicThreshold,
    PoolTimeouts,
    Queue,
    Retry,
    SlowStart,
    Threshold,
    must_be_table,
)
from steelyard.config.units import U32_MAX, Count, WrittenOff, count, refuse
from steelyard.sim.arrivals import Arrivals
from steelyard.sim.service import Service
from steelyard.sim.units import Factor, Seconds, SecondsOrZero

__all__ = ["ENDPOINTS_MAX", "FAULTS", "SEED_MAX", "EndpointGroup", "Fault", "Scenario"]

ENDPOINTS_MAX = 10_000
POLICIES_MAX = 32
FAULTS_MAX = 10_000
REQUESTS_MAX = 1_000_000_000
REPLICATIONS_MAX = 1_000
BALANCERS_MAX = 10_000
SERIES_BUCKETS_MAX = 10_000
KEYS_MAX = 10_000_000
KEY_SKEW_MAX = 10.0
SEED_MAX = 2**63 - 1

FAULTS = ("slow", "fail_fast", "hang", "stop", "add")


def counted(most: int) -> BeforeValidator:
    """A whole number from 1 to `most`."""

    def check(value: object) -> int | None:
        number = count(value)
        if number is not None and number > most:
            raise refuse(f"{number} is out of range", f"from 1 to {most}")
        return number

    return BeforeValidator(check, json_schema_input_type=Annotated[int, Field(ge=1, le=most)])


def share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise refuse("expected a share", "from 0 to below 1, for instance 0.1")
    return float(value)


def skew(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= KEY_SKEW_MAX:
        raise refuse(
            "expected a skew", f"0 = every key as often, 1 = like words in a text, at most {KEY_SKEW_MAX:g}"
        )
    return float(value)


def places_to_wait(value: object) -> int | None:
    if value == "off" and isinstance(value, str):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U32_MAX:
        raise refuse('expected a number of requests or "off"', "0 = none may wait at the endpoint")
    return value


def must_be_list(value: object) -> object:
    if isinstance(value, str):
        raise refuse("expected a list", f'write ["{value}"]')
    return value


class EndpointGroup(Model):
    """Endpoints that are alike."""

    name: Name | None = None
    """What they are called in tables and pictures; a number is added to it."""
    count: Annotated[int, counted(ENDPOINTS_MAX)] = 1
    """How many."""
    speed: Factor = 1.0
    """Divides the service time: one of speed 2 is twice as fast."""
    concurrency: Count = 1
    """Requests that each serves at once, first come first served."""
    weight: Annotated[int, Field(ge=0, le=U32_MAX)] = 1
    """The share of each beside the others."""
    waiting_room: Annotated[
        int | None,
        BeforeValidator(
            places_to_wait, json_schema_input_type=Annotated[int, Field(ge=0, le=U32_MAX)] | WrittenOff
        ),
    ] = None
    """Requests that may wait at each; beyond it they are refused. Absent or "off" = no bound."""
    zone: Name | None = None
    """Where they stand; see `zone` at the top."""
    priority: Annotated[int, Field(ge=0, le=U32_MAX)] = 0
    """The lower one is used first."""


def endpoint_names(value: object) -> tuple[int | str, ...]:
    names = tuple(value) if isinstance(value, list | tuple) else (value,)
    for name in names:
        if isinstance(name, bool) or not isinstance(name, int | str):
            raise refuse(
                "expected an endpoint", "its number from 0, its name, that of its group, or a list of these"
            )
    if not names:
        raise refuse("expected at least one")
    return names


class Fault(Model):
    """Something that happens to an endpoint."""

    at: SecondsOrZero
    """When, from the beginning of the run."""
    endpoint: Annotated[
        tuple[int | str, ...],
        BeforeValidator(endpoint_names, json_schema_input_type=int | str | list[int | str]),
    ]
    """Its number from 0 in the order of the file, its name, that of its group, or a list of these."""
    kind: Annotated[Literal["slow", "fail_fast", "hang", "stop", "add"], one_of("kind of fault", *FAULTS)]
    """slow (by `factor`), fail_fast (an error at once), hang (no answer), stop (refuses
    connections, until it is started again), add (is not there before)."""
    factor: Factor | None = None
    """How many times slower; only for "slow"."""
    until: Seconds | None = None
    """When it ends; absent = never."""


class Subset(Model):
    """As in a pool, where each balancer is an instance of its own."""

    size: Count
    """Endpoints of each priority."""
    instance: Annotated[int, Field(ge=0, le=U32_MAX)] = 0
    """The number of the first balancer; the others are numbered on from there."""
    instances: Count | None = None
    """How many instances there are; unless given, no more than the balancers need."""


class Cache(Model):
    """What endpoints keep of the keys that they have served."""

    entries: Annotated[int, counted(KEYS_MAX)]
    """Keys that each keeps; the least recently used one goes."""
    hit_factor: Factor
    """What a request takes whose key is there, beside one whose key is not: 0.1 = a tenth."""


class Scenario(Model):
    """What `steelyard simulate` runs."""

    seed: Annotated[int, Field(ge=0, le=SEED_MAX)] = 1
    """The same seed gives the same run, to the last digit."""
    requests: Annotated[int, counted(REQUESTS_MAX)] | None = None
    """Requests in each replication; 400000 unless `duration` is given."""
    duration: Seconds | None = None
    """Virtual time of each replication, instead of `requests`."""
    warmup: Annotated[
        float, BeforeValidator(share, json_schema_input_type=Annotated[float, Field(ge=0, lt=1)])
    ] = 0.1
    """The share of each replication, from its beginning, that is not counted."""
    replications: Annotated[int, counted(REPLICATIONS_MAX)] = 8
    """Independent runs; the more, the narrower the confidence intervals."""
    balancers: Annotated[int, counted(BALANCERS_MAX)] = 1
    """Independent decision makers that share the arrivals and do not know of each other's requests."""
    information_delay: SecondsOrZero = 0.0
    """How old what a balancer knows of the endpoints is."""
    policies: Annotated[
        tuple[Policy, ...],
        BeforeValidator(must_be_list),
        Field(strict=False, min_length=1, max_length=POLICIES_MAX),
    ]
    """The policies to compare: names, or tables as in a pool."""
    endpoints: Annotated[tuple[EndpointGroup, ...], Field(strict=False, min_length=1)]
    """Groups of endpoints."""
    arrivals: Arrivals
    """When requests arrive."""
    service: Service
    """How long they take."""
    keys: Annotated[int, counted(KEYS_MAX)] = 10_000
    """How many different keys requests have, for policies that hash one."""
    key_skew: Annotated[
        float, BeforeValidator(skew, json_schema_input_type=Annotated[float, Field(ge=0, le=KEY_SKEW_MAX)])
    ] = 0.0
    """Zipf's exponent: 0 = every key as often, 1 = some keys much more often."""
    cache: Cache | None = None
    """What endpoints keep of the keys that they have served; absent = nothing."""
    series_buckets: Annotated[int, counted(SERIES_BUCKETS_MAX)] = 200
    """Into how many stretches of time the load over time is divided."""
    zone: Name | None = None
    """Where the balancers stand: endpoints of the same zone are preferred."""
    faults: Annotated[tuple[Fault, ...], Field(strict=False, max_length=FAULTS_MAX)] = ()
    """What goes wrong, and when."""
    load: Annotated[
        Literal["requests", "latency", "bytes"], one_of("load", "requests", "latency", "bytes")
    ] = "requests"
    """As in a pool: what least_load compares; there are no bytes here."""
    fail_open: bool = True
    """As in a pool."""
    panic_threshold: PanicThreshold = "auto"
    """As in a pool."""
    ejection: bool = True
    """Whether failures in a row eject an endpoint, as in a pool; false shows what a policy does by itself."""
    subset: Subset | None = None
    """The part of the endpoints that each balancer talks to; without it all of them."""
    slow_start: SlowStart = None
    """As in a pool."""
    threshold: Threshold = Threshold()
    """As in a pool."""
    queue: Queue = Queue()
    """As in a pool."""
    health: Annotated[Health, BeforeValidator(must_be_table)] = Health()
    """As in a pool."""
    timeouts: PoolTimeouts | None = None
    """As in a pool, once this table is there; without it nothing times out."""
    retry: Retry = Retry()
    """As in a pool."""
