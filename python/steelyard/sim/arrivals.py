"""When requests arrive: the table [arrivals] of a scenario."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from steelyard.config.base import Model
from steelyard.config.units import refuse
from steelyard.sim.trace import TraceTable
from steelyard.sim.units import (
    Factor,
    Rate,
    RateOrZero,
    Seconds,
    WrittenSeconds,
    parse_seconds,
    rate_or_zero,
    seconds_written,
)

__all__ = ["ArrivalTrace", "Arrivals", "OnOff", "Profile"]

POINTS_MAX = 10_000


class Poisson(Model):
    """Independent requests: the gaps between them are exponential."""

    kind: Literal["poisson"]
    """How requests arrive."""
    rate: Rate
    """Requests a second, over all balancers."""


class Deterministic(Model):
    """Requests at equal distances."""

    kind: Literal["deterministic"]
    """How requests arrive."""
    rate: Rate
    """Requests a second, over all balancers."""


class OnOff(Model):
    """Bursts: independent requests at one rate and then at another, in turn."""

    kind: Literal["on_off"]
    """How requests arrive."""
    rate_on: Rate
    """Requests a second during a burst."""
    rate_off: RateOrZero = 0.0
    """Requests a second between bursts."""
    on: Seconds
    """How long a burst lasts on average; lengths are exponential."""
    off: Seconds
    """How long it is quiet on average; lengths are exponential."""


def point(value: object) -> tuple[float, float]:
    example = 'a point is a time and a rate: ["60s", 200.0]'
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise refuse("expected a point", example)
    return parse_seconds(value[0], zero=True), rate_or_zero(value[1])


Point = Annotated[
    tuple[float, float],
    BeforeValidator(point, json_schema_input_type=tuple[WrittenSeconds, float]),
    PlainSerializer(lambda pair: [seconds_written(pair[0]), pair[1]]),
]


def in_order(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Times that rise from zero, and some request at all."""
    times = [time for time, _ in points]
    if times[0] != 0:
        raise refuse("the first point is not at the beginning", f'begin with ["0s", {points[0][1]}]')
    for earlier, later in pairwise(times):
        if later <= earlier:
            raise refuse(
                f"the point at {seconds_written(later)} follows the one at {seconds_written(earlier)}",
                "points stand in the order of their times",
            )
    if not any(rate for _, rate in points):
        raise refuse("no request would ever arrive", "give a point a rate above 0")
    return points


class Profile(Model):
    """Independent requests at a rate that changes over time."""

    kind: Literal["profile"]
    """How requests arrive."""
    points: Annotated[
        tuple[Point, ...], Field(strict=False, min_length=1, max_length=POINTS_MAX), AfterValidator(in_order)
    ]
    """Times and rates, such as [["0s", 50.0], ["60s", 200.0]]."""


class ArrivalTrace(TraceTable):
    """Requests as a log recorded them."""

    kind: Literal["trace"]
    """How requests arrive."""
    speed: Factor = 1.0
    """How many times as fast they arrive as they did: 2.0 tries twice the traffic."""


Arrivals = Annotated[Poisson | Deterministic | OnOff | Profile | ArrivalTrace, Field(discriminator="kind")]
