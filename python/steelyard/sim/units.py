"""Times, rates and factors as a scenario writes them.

Under a virtual clock a time may be far below a millisecond or zero, so that inside the models of a scenario
it is a number of seconds, not the whole milliseconds of a configuration.
"""

import math
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from steelyard.config.units import no_unit, number_and_unit, refuse

__all__ = [
    "SECONDS_MAX",
    "VIRTUAL_S_MAX",
    "YEAR_S",
    "Factor",
    "Rate",
    "RateOrZero",
    "Seconds",
    "SecondsOrZero",
    "WrittenSeconds",
    "parse_seconds",
    "rate_or_zero",
    "seconds_written",
]

YEAR_S = 365 * 24 * 3600
SECONDS_MAX = YEAR_S
VIRTUAL_S_MAX = 100 * YEAR_S
"""How long a replication may be: the engine counts nanoseconds in 63 bits."""
RATE_MAX = 1e9
FACTOR_MAX = 1e6

UNITS = {
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
EXAMPLE = 'a time is a number with its unit: "200us", "5ms", "10s", "5m", "1h"'


def parse_seconds(value: object, *, zero: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refuse("expected a time", EXAMPLE)
    if not isinstance(value, str):
        if value == 0 and zero:
            return 0.0
        raise no_unit(value)
    written = number_and_unit(value)
    if written is None:
        raise refuse(f'"{value}" is no time', EXAMPLE)
    number, unit = written
    if number == 0:
        if zero:
            return 0.0
        raise refuse(f'"{value}" is too short here', "write a time above 0")
    if not unit:
        raise no_unit(value)
    if unit not in UNITS:
        raise refuse(f'"{unit}" is no unit of time', f"the units are {', '.join(UNITS)}")
    seconds = float(number * UNITS[unit])
    if seconds > SECONDS_MAX:
        raise refuse(f'"{value}" is longer than a year')
    return seconds


def seconds_written(seconds: float) -> str:
    """The text that `parse_seconds` reads back as the same."""
    return f"{Decimal(repr(seconds)):f}s"


def number(value: object, what: str, most: float, *, zero: bool) -> float:
    example = f"a number {'from' if zero else 'above'} 0, at most {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(f"expected a {what}", example)
    if not math.isfinite(value) or value < 0 or value > most or (value == 0 and not zero):
        raise refuse(f"{value} is no {what}", example)
    return float(value)


def seconds(value: object) -> float:
    return parse_seconds(value, zero=False)


def seconds_or_zero(value: object) -> float:
    return parse_seconds(value, zero=True)


def rate(value: object) -> float:
    return number(value, "rate", RATE_MAX, zero=False)


def rate_or_zero(value: object) -> float:
    return number(value, "rate", RATE_MAX, zero=True)


def factor(value: object) -> float:
    return number(value, "factor", FACTOR_MAX, zero=False)


WrittenSeconds = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?\s*(us|µs|ms|s|m|h|d)$")]
WrittenFactor: Any = Annotated[float, Field(gt=0, le=FACTOR_MAX)]

Seconds = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=WrittenSeconds),
    PlainSerializer(seconds_written),
]
SecondsOrZero = Annotated[
    float,
    BeforeValidator(seconds_or_zero, json_schema_input_type=WrittenSeconds),
    PlainSerializer(seconds_written),
]
Rate = Annotated[
    float, BeforeValidator(rate, json_schema_input_type=Annotated[float, Field(gt=0, le=RATE_MAX)])
]
RateOrZero = Annotated[
    float, BeforeValidator(rate_or_zero, json_schema_input_type=Annotated[float, Field(ge=0, le=RATE_MAX)])
]
Factor = Annotated[float, BeforeValidator(factor, json_schema_input_type=WrittenFactor)]
