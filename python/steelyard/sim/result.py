"""What a simulation found, frozen."""

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["MEASURES", "Difference", "Happening", "PolicyResult", "Ranking", "Result", "Series", "TraceRead"]

MEASURES = ("mean", "p50", "p90", "p99", "p999")
# A policy that fails so many more of its requests than the best is not compared on time: errors are quick.
ERROR_SHARE_APART = 0.001

Interval = tuple[float, float]


class Outcome(BaseModel):
    """A table of the result. What a newer engine says beyond it is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Series(Outcome):
    """The load over time, of the first replication."""

    t_s: tuple[float, ...]
    """The middle of each stretch of time."""
    in_flight: tuple[tuple[float, ...], ...]
    """For each stretch and in it each endpoint the mean of its requests in flight, waiting ones included."""
    rate: tuple[float, ...]
    """Arrivals a second."""


class PolicyResult(Outcome):
    """One policy. Times are in seconds; None where no request was answered."""

    name: str
    requests: int
    """Over all replications, the warm-up left out."""
    mean_s: float | None
    mean_ci_s: Interval | None
    """The 95 % confidence interval over replications, None where there was only one; so for the others."""
    p50_s: float | None
    p50_ci_s: Interval | None = None
    p90_s: float | None
    p90_ci_s: Interval | None = None
    p99_s: float | None
    p99_ci_s: Interval | None = None
    p999_s: float | None
    p999_ci_s: Interval | None = None
    utilisation: float
    """The busy share of all places to be served."""
    utilisation_by_endpoint: tuple[float, ...] = ()
    errors: int
    """Requests that ended in an error."""
    retries: int
    """Tries beyond the first."""
    queue_wait_mean_s: float | None
    """In the balancer's own queue, which exists where a threshold is set."""
    share: tuple[float, ...]
    """Of the requests, for each endpoint."""
    distribution: tuple[tuple[float, float], ...] = ()
    """Times, and the share of requests that took at most as long."""
    series: Series | None = None

    @property
    def error_share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    def value(self, measure: str) -> float | None:
        """One of MEASURES, in seconds."""
        found: float | None = getattr(self, f"{measure}_s")
        return found

    def interval(self, measure: str) -> Interval | None:
        found: Interval | None = getattr(self, f"{measure}_ci_s")
        return found


class Difference(Outcome):
    """How much longer requests took in the mean under policy `a` than under `b`."""

    a: str
    b: str
    mean_s: float
    ci_s: Interval | None
    significant: bool


class Happening(Outcome):
    """A fault of the scenario, at one endpoint."""

    at_s: float
    until_s: float | None
    endpoint: int
    kind: str


class TraceRead(Outcome):
    """A log that was read as a trace."""

    file: str
    format: str
    """"json", "nginx" or "haproxy"."""
    told_by_line: int | None
    """The line that told the format; None where the scenario names it."""
    lines: int
    """How many were read."""


class Ranking(Outcome):
    """Which policy is best on a measure."""

    measure: str
    best: str
    level: tuple[str, ...]
    """Policies whose confidence interval overlaps that of the best."""
    failing: tuple[str, ...]
    """Policies that are not compared, since they fail markedly more requests than the best in that."""


class Result(Outcome):
    """A whole run."""

    seed: int
    events_per_second: float
    warnings: tuple[str, ...] = ()
    policies: tuple[PolicyResult, ...]
    differences: tuple[Difference, ...] = ()
    endpoints: tuple[str, ...] = ()
    """What the endpoints are called, in the order of every list of them."""
    faults: tuple[Happening, ...] = ()
    """What went wrong on the way, as the scenario says."""
    traces: tuple[TraceRead, ...] = ()
    """The logs that were read, each once."""

    def policy(self, name: str) -> PolicyResult:
        """The policy of this name. Raises KeyError."""
        for one in self.policies:
            if one.name == name:
                return one
        raise KeyError(name)

    def ranking(self, measure: str = "p99") -> Ranking | None:
        """The best policy on one of MEASURES; None where no request was answered."""
        fewest = min(one.error_share for one in self.policies)
        sound = [
            one
            for one in self.policies
            if one.value(measure) is not None and one.error_share <= fewest + ERROR_SHARE_APART
        ]
        if not sound:
            return None
        best = min(sound, key=lambda one: one.value(measure) or 0.0)
        level = [one.name for one in sound if one is not best and overlap(one, best, measure)]
        failing = [one.name for one in self.policies if one.error_share > fewest + ERROR_SHARE_APART]
        return Ranking(measure=measure, best=best.name, level=tuple(level), failing=tuple(failing))

    def as_json(self, *, series: bool = False) -> dict[str, Any]:
        """For `json.dumps`; with `series` also the distributions and the load over time, which are long."""
        left_out = None if series else {"policies": {"__all__": {"distribution", "series"}}}
        return self.model_dump(mode="json", exclude=left_out)


def overlap(one: PolicyResult, other: PolicyResult, measure: str) -> bool:
    """Whether the run cannot tell the two apart; one replication alone tells nothing apart."""
    first, second = one.interval(measure), other.interval(measure)
    if first is None or second is None:
        return True
    return first[0] <= second[1] and second[0] <= first[1]
