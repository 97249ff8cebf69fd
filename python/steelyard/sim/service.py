"""How long an endpoint of speed 1 takes to serve a request: the table [service] of a scenario."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from steelyard.config.base import Model
from steelyard.config.units import refuse
from steelyard.sim.trace import TraceTable
from steelyard.sim.units import Factor, Seconds, seconds_written

__all__ = ["HyperExponential", "LogNormal", "Pareto", "Service", "ServiceTrace"]


def only(expected: float, kind: str) -> BeforeValidator:
    """A c2 that the kind fixes: it may be written, but only as it is."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != expected:
            raise refuse(
                f'the squared coefficient of variation of "{kind}" is {expected:g}',
                'leave it out, or take kind = "lognormal" or "hyperexponential"',
            )
        return expected

    return BeforeValidator(check, json_schema_input_type=float)


def at_least_1(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 1:
        raise refuse(
            f'a "hyperexponential" time varies more than an exponential one, so {value} is no c2 of it',
            'write 1 or more, or take kind = "lognormal"',
        )
    return value


class Constant(Model):
    """Every request takes as long."""

    kind: Literal["constant"]
    """How long requests take."""
    mean: Seconds
    """How long each takes."""
    c2: Annotated[float, only(0.0, "constant")] = 0.0
    """The squared coefficient of variation, which is 0."""


class Exponential(Model):
    """The textbook's: many short requests, a few long ones."""

    kind: Literal["exponential"]
    """How long requests take."""
    mean: Seconds
    """How long they take on average."""
    c2: Annotated[float, only(1.0, "exponential")] = 1.0
    """The squared coefficient of variation, which is 1."""


class LogNormal(Model):
    """What response times of real services often look like."""

    kind: Literal["lognormal"]
    """How long requests take."""
    mean: Seconds
    """How long they take on average."""
    c2: Factor = 1.0
    """The squared coefficient of variation: variance over mean squared."""


class HyperExponential(Model):
    """Two sorts of request, cheap and dear, mixed so that each sort carries half of the work."""

    kind: Literal["hyperexponential"]
    """How long requests take."""
    mean: Seconds
    """How long they take on average."""
    c2: Annotated[Factor, BeforeValidator(at_least_1, json_schema_input_type=Annotated[float, Field(ge=1)])]
    """The squared coefficient of variation, 1 or more."""


class Pareto(Model):
    """A heavy tail that ends at a bound."""

    kind: Literal["pareto"]
    """How long requests take."""
    mean: Seconds
    """How long they take on average."""
    alpha: Factor
    """How heavy the tail is; 1.1 is very heavy, 2.5 is not."""
    bound: Seconds
    """The longest a request takes."""

    @model_validator(mode="after")
    def mean_below_the_bound(self) -> Self:
        if self.bound <= self.mean:
            raise refuse(
                f"no request takes longer than {seconds_written(self.bound)}, "
                f"so the mean cannot be {seconds_written(self.mean)}",
                "bound is far above mean, a hundred times for instance",
            )
        return self


class ServiceTrace(TraceTable):
    """Times as a log recorded them, drawn at random."""

    kind: Literal["trace"]
    """How long requests take."""


Service = Annotated[
    Constant | Exponential | LogNormal | HyperExponential | Pareto | ServiceTrace, Field(discriminator="kind")
]
