"""Whether the score rises, or stays, as requests in flight rise: evaluated directly, without a simulation."""

import ctypes
import math
from collections.abc import Iterator
from itertools import product

from steelyard.lint.report import Finding, Trial
from steelyard.lint.subject import Subject

__all__ = ["check"]

IN_FLIGHT_MAX = 1_000
# What endpoints may be like otherwise.
SETTINGS = {
    "latency": (0.02, 0.0, 2.0),
    "error_rate": (0.0, 0.3, 1.0),
    "weight": (1.0, 10.0),
    "bytes_per_second": (0.0, 1e6),
    "age": (3600.0, 0.0),
    "zone_match": (0.0, 1.0),
}
WHY = "load would attract load: a full endpoint gets more while others are idle, until it breaks"
HINT = "let the score grow with endpoint.in_flight, as (endpoint.in_flight + 1) / endpoint.weight does"


def check(subject: Subject) -> Iterator[Trial | Finding]:
    settings = [dict(zip(SETTINGS, values, strict=True)) for values in product(*SETTINGS.values())]
    falls = [(setting, place) for setting in settings if (place := first_fall(subject, setting)) is not None]
    yield Trial(
        "monotone",
        f"in_flight 0 to {IN_FLIGHT_MAX} in {len(settings)} settings of the others",
        None,
        f"falls in {len(falls)}" if falls else "never falls",
        "never falls",
        not falls,
    )
    if falls:
        setting, place = falls[0]
        before, after = (
            subject.score(in_flight=place - 1, **setting),
            subject.score(in_flight=place, **setting),
        )
        where = ", ".join(f"{name}={value:g}" for name, value in setting.items())
        message = (
            f"the score falls as requests in flight rise: from {before:g} at in_flight={place - 1} "
            f"to {after:g} at in_flight={place} ({where}), and in {len(falls)} of {len(settings)} settings"
        )
        yield Finding("monotone", None, message, WHY, HINT)


def first_fall(subject: Subject, setting: dict[str, float]) -> int | None:
    """The first number in flight whose score is below that of the one before."""
    highest = as_compared(subject.score(in_flight=0, **setting))
    for in_flight in range(1, IN_FLIGHT_MAX + 1):
        score = as_compared(subject.score(in_flight=in_flight, **setting))
        if score < highest:
            return in_flight
        highest = score
    return None


def as_compared(score: float) -> float:
    """As the engine compares it: in single precision, and no number is the worst."""
    return math.inf if math.isnan(score) else ctypes.c_float(score).value
