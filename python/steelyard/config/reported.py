"""The load that endpoints report in a field of their responses, and what it is used as."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from steelyard.config.base import Model, one_of, table_with
from steelyard.config.units import (
    Duration,
    WrittenDuration,
    WrittenOff,
    duration_text,
    parse_duration,
    refuse,
)

__all__ = ["Reported", "agreed", "reported_of"]

USES = ("weight", "load")
ERROR_PENALTY_MAX = 1_000


def blackout_or_off(value: object) -> int:
    """No blackout is 0, since None is that nothing is said of it."""
    return parse_duration(value, off=True) or 0


def lower_case(value: object) -> object:
    if not isinstance(value, str):
        raise refuse("expected the name of a field", 'for instance "endpoint-load-metrics"')
    return value.lower()


class ReportedTable(Model):
    """How reports in responses are read and used."""

    used_as: Annotated[Literal["weight", "load"], one_of("use of a report", *USES)] = Field(alias="as")
    """"weight": what an endpoint could serve is its weight; "load": its utilisation is what least_load
    compares."""
    metric: str | None = None
    """The utilisation: "application_utilization", "cpu_utilization" or "named_metrics.NAME"; unless given,
    the first of these where it is above 0, else the second."""
    header: Annotated[str, BeforeValidator(lower_case, json_schema_input_type=str)] | None = None
    """The name of the field; "endpoint-load-metrics" unless given."""
    expiration: Duration | None = None
    """How long a report counts as a weight; 3 min unless given."""
    blackout: (
        Annotated[int, BeforeValidator(blackout_or_off, json_schema_input_type=WrittenDuration | WrittenOff)]
        | None
    ) = None
    """How long an endpoint's reports are not used as a weight after its first; 10 s unless given."""
    error_penalty: Annotated[float, Field(strict=False, ge=0, le=ERROR_PENALTY_MAX)] | None = None
    """How much errors take from a weight: with 1, the default, a share of errors counts like as much
    utilisation."""
    passes: bool = Field(default=False, alias="pass")
    """Whether clients see the field, too."""


def write_reported(reported: ReportedTable | None) -> object:
    if reported is None:
        return None
    written = reported.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    if reported.blackout is not None:
        written["blackout"] = duration_text(reported.blackout or None)
    return written["as"] if written.keys() == {"as"} else written


Reported = Annotated[
    ReportedTable | None,
    BeforeValidator(
        table_with("as", "a use of reports", '"weight"'),
        json_schema_input_type=Literal["weight", "load"] | ReportedTable,
    ),
    PlainSerializer(write_reported),
]


def agreed(pool: object) -> object:
    """A pool in which `load = "reported"` and `reported = "load"` imply each other."""
    if not isinstance(pool, dict):
        return pool
    reported = pool.get("reported")
    used_as = reported.get("as") if isinstance(reported, dict) else reported
    if pool.get("load") == "reported" and reported is None:
        return {**pool, "reported": "load"}
    if used_as == "load" and "load" not in pool:
        return {**pool, "load": "reported"}
    return pool


def reported_of(reported: ReportedTable | None) -> dict[str, Any] | None:
    """The same for the engine's document."""
    if reported is None:
        return None
    return {
        "as": reported.used_as,
        "field": reported.header,
        "metric": reported.metric,
        "expiration_ms": reported.expiration,
        "blackout_ms": reported.blackout,
        "error_penalty": reported.error_penalty,
        "pass": reported.passes,
    }
