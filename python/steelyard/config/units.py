"""Durations, sizes and counts as they are written in a configuration: with a unit, or "off".

Inside the models a duration is a whole number of milliseconds, a size one of bytes, and None is *off*.
"""

import math
import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

__all__ = [
    "U32_MAX",
    "Count",
    "CountOrOff",
    "Duration",
    "DurationOrOff",
    "Size",
    "SizeOrOff",
    "WrittenCount",
    "WrittenDuration",
    "WrittenOff",
    "count",
    "duration_text",
    "no_unit",
    "number_and_unit",
    "parse_count",
    "parse_duration",
    "parse_size",
    "refuse",
    "size_text",
]

U32_MAX = 2**32 - 1
DURATION_MS_MAX = 365 * 24 * 3600 * 1000
SIZE_MAX = 2**50

DURATION_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZE_UNITS = {"": 1, "k": 2**10, "M": 2**20, "G": 2**30}
DIGITS_MAX = 24
"""Few enough for exact arithmetic, far more than any range here needs."""
WRITTEN_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*")

OFF_HINT = 'write "off" to turn it off'


def refuse(message: str, hint: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise; the hint travels with it."""
    return PydanticCustomError("steelyard", "{reason}", {"reason": message, "hint": hint})


def number_and_unit(text: str) -> tuple[Decimal, str] | None:
    found = WRITTEN_NUMBER.fullmatch(text)
    if found is None:
        return None
    if len(found[1]) > DIGITS_MAX:
        raise refuse(f"a number of {len(found[1])} characters is out of range", f"at most {DIGITS_MAX}")
    return Decimal(found[1]), found[2]


def no_unit(value: float | str) -> PydanticCustomError:
    if isinstance(value, float) and not math.isfinite(value):
        return refuse(f"{value} is no number", 'write a number with its unit, such as "5s"')
    return refuse(f"{value} has no unit", f'write "{value}s" for seconds or "{value}ms" for milliseconds')


def parse_duration(value: object, *, off: bool) -> int | None:
    example = 'a duration is a number with its unit: "500ms", "10s", "5m", "1h"'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refuse("expected a duration", example)
    if value in (0, "0"):
        raise refuse("0 is no duration", OFF_HINT if off else example)
    if not isinstance(value, str):
        raise no_unit(value)
    if value == "off":
        if off:
            return None
        raise refuse("this cannot be off", example)
    written = number_and_unit(value)
    if written is None:
        raise refuse(f'"{value}" is no duration', example)
    number, unit = written
    if unit not in DURATION_UNITS:
        if not unit:
            raise no_unit(value)
        raise refuse(f'"{unit}" is no unit of time', f"the units are {', '.join(DURATION_UNITS)}")
    milliseconds = number * DURATION_UNITS[unit]
    if number == 0:
        raise refuse("0 is no duration", OFF_HINT if off else example)
    if milliseconds != int(milliseconds):
        raise refuse(f'"{value}" is no whole number of milliseconds', example)
    if milliseconds > DURATION_MS_MAX:
        raise refuse(f'"{value}" is longer than a year', OFF_HINT if off else None)
    return int(milliseconds)


def parse_size(value: object, *, off: bool, most: int) -> int | None:
    example = 'a size is a number of bytes, or one with k, M or G: 4096, "64k", "8M"'
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise refuse("expected a size", example)
    if value == "off":
        if off:
            return None
        raise refuse("this cannot be off", example)
    written = number_and_unit(str(value))
    if written is None:
        raise refuse(f'"{value}" is no size', example)
    number, unit = written
    if unit not in SIZE_UNITS:
        near = {"K": "k", "kb": "k", "kB": "k", "KB": "k", "KiB": "k", "m": "M", "MB": "M", "MiB": "M"}
        near |= {"g": "G", "GB": "G", "GiB": "G"}
        hint = f'did you mean "{number}{near[unit]}"?' if unit in near else example
        raise refuse(f'"{unit}" is no unit of size', hint)
    size_bytes = number * SIZE_UNITS[unit]
    if size_bytes == 0:
        raise refuse("0 is no size", OFF_HINT if off else example)
    if size_bytes != int(size_bytes):
        raise refuse(f'"{value}" is no whole number of bytes', example)
    if size_bytes > most:
        raise refuse(f"{value} is out of range", f"at most {most} bytes")
    return int(size_bytes)


def parse_count(value: object, *, off: bool) -> int | None:
    if value == "off" and isinstance(value, str):
        if off:
            return None
        raise refuse("this cannot be off", "write a whole number from 1")
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse("expected a whole number" + (' or "off"' if off else ""))
    if value == 0:
        raise refuse("0 is no limit" if off else "this is at least 1", OFF_HINT if off else None)
    if not 0 < value <= U32_MAX:
        raise refuse(f"{value} is out of range", f"from 1 to {U32_MAX}")
    return value


def whole(value: int, units: dict[str, int]) -> str:
    unit = max((unit for unit in units if value % units[unit] == 0), key=lambda unit: units[unit])
    return f"{value // units[unit]}{unit}"


def duration_text(milliseconds: int | None) -> str:
    """The shortest text that `parse_duration` reads back as the same; hours are the largest unit."""
    if milliseconds is None:
        return "off"
    return whole(milliseconds, {unit: ms for unit, ms in DURATION_UNITS.items() if unit != "d"})


def size_text(size_bytes: int | None) -> str:
    """The shortest text that `parse_size` reads back as the same."""
    return "off" if size_bytes is None else whole(size_bytes, SIZE_UNITS)


def count_text(value: int | None) -> int | str:
    return "off" if value is None else value


WrittenOff = Literal["off"]
WrittenCount = Annotated[int, Field(ge=1)]
WrittenDuration = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$")]
WrittenDurationOrOff = WrittenDuration | WrittenOff
WrittenSize = WrittenCount | Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?[kMG]?$")]
WrittenSizeOrOff = WrittenSize | WrittenOff


def duration_or_off(value: object) -> int | None:
    return parse_duration(value, off=True)


def duration(value: object) -> int | None:
    return parse_duration(value, off=False)


def size_or_off(value: object) -> int | None:
    return parse_size(value, off=True, most=SIZE_MAX)


def size(value: object) -> int | None:
    return parse_size(value, off=False, most=U32_MAX)


def count_or_off(value: object) -> int | None:
    return parse_count(value, off=True)


def count(value: object) -> int | None:
    return parse_count(value, off=False)


Duration = Annotated[
    int,
    BeforeValidator(duration, json_schema_input_type=WrittenDuration),
    PlainSerializer(duration_text),
]
DurationOrOff = Annotated[
    int | None,
    BeforeValidator(duration_or_off, json_schema_input_type=WrittenDurationOrOff),
    PlainSerializer(duration_text),
]
Size = Annotated[
    int,
    BeforeValidator(size, json_schema_input_type=WrittenSize),
    PlainSerializer(size_text),
]
SizeOrOff = Annotated[
    int | None,
    BeforeValidator(size_or_off, json_schema_input_type=WrittenSizeOrOff),
    PlainSerializer(size_text),
]
Count = Annotated[
    int,
    BeforeValidator(count, json_schema_input_type=WrittenCount),
]
CountOrOff = Annotated[
    int | None,
    BeforeValidator(count_or_off, json_schema_input_type=WrittenCount | WrittenOff),
    PlainSerializer(count_text),
]
