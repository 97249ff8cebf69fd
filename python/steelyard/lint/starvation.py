"""Whether every endpoint that is well gets its part: a slower one, and one that was bad and has recovered."""

from collections.abc import Iterator, Mapping
from typing import Any

from steelyard.lint.report import Finding, Trial, percent
from steelyard.lint.subject import Seen, Subject

__all__ = ["recovery", "starvation"]

# Of what the capacity of an endpoint would be worth: the engine's own policies are all far above.
PART = 0.25
WHY = (
    "what gets no requests teaches nothing new, so that it stays out though nothing is wrong with it, "
    "and the pool is smaller than it looks"
)
HINT = (
    "let requests in flight outweigh everything else in the end: multiply by (endpoint.in_flight + 1), and "
    "bound what may keep an endpoint out, for instance min(endpoint.latency, 1.0)"
)
SPEEDS = {"endpoint-0": 1.0, "endpoint-1": 1.0, "endpoint-2": 1.0, "endpoint-3": 1.0, "slow": 0.5}


def starvation(subject: Subject) -> Iterator[Trial | Finding]:
    """Four equal endpoints and one of half the speed, at a load that needs all of them."""
    service_s, load = 0.02, 0.7
    found = subject.drive(
        [{"name": name, "speed": speed} for name, speed in SPEEDS.items()],
        requests=20_000,
        replications=2,
        arrivals={"kind": "poisson", "rate": load * sum(SPEEDS.values()) / service_s},
        service={"kind": "exponential", "mean": f"{service_s}s"},
    )
    tried = "4 equal endpoints and one of half the speed, 70 % load"
    fair = {name: speed / sum(SPEEDS.values()) for name, speed in SPEEDS.items()}
    for seen in found:
        name = worst(seen, fair)
        what = "a healthy endpoint of half the speed" if name == "slow" else "healthy and as fast as others"
        yield from judge("starvation", tried, seen, fair, f"{name}, {what},")


ILLS: dict[str, tuple[dict[str, Any], str]] = {
    "slow": ({"kind": "slow", "factor": 10.0}, "was ten times slower"),
    "fail_fast": ({"kind": "fail_fast"}, "failed every request"),
}


def recovery(subject: Subject) -> Iterator[Trial | Finding]:
    """One of five is bad for half a minute; what it gets after another minute is measured, at low load."""
    count, service_s, load = 5, 0.02, 0.1
    for ill, was in ILLS.values():
        found = subject.drive(
            [{"name": "recovered"}, {"name": "endpoint", "count": count - 1}],
            [{"at": "10s", "until": "40s", "endpoint": "recovered", **ill}],
            duration="200s",
            replications=2,
            warmup=0.5,
            arrivals={"kind": "poisson", "rate": load * count / service_s},
            service={"kind": "exponential", "mean": f"{service_s}s"},
        )
        tried = f"5 equal endpoints of which one {was} and is well for a minute"
        for seen in found:
            who = f"recovered, which {was} for 30 s and has been well for a minute,"
            yield from judge("recovery", tried, seen, {"recovered": 1 / count}, who)


def worst(seen: Seen, fair: Mapping[str, float]) -> str:
    return min(fair, key=lambda name: seen.shares[name] / fair[name])


def judge(
    check: str, tried: str, seen: Seen, fair: Mapping[str, float], who: str
) -> Iterator[Trial | Finding]:
    """`fair` says what each is worth; only those in it are judged, and `who` is the one that is worst off."""
    name = worst(seen, fair)
    ok = seen.shares[name] >= PART * fair[name]
    seen_text = told({name: seen.shares[name] for name in fair})
    expected = f"{told({name: PART * share for name, share in fair.items()})} or more"
    yield Trial(check, tried, seen.compared, seen_text, expected, ok, seen.shares)
    if not ok:
        message = (
            f"{who} gets {percent(seen.shares[name])} of the requests {seen.how}, where its part of the "
            f"capacity is {percent(fair[name])}; {seen.own_policy} gives it {percent(seen.reference[name])}"
        )
        yield Finding(check, seen.compared, message, WHY, HINT)


def told(shares: Mapping[str, float]) -> str:
    """The last of them, and the least of the equal others."""
    *others, last = shares
    rest = f"others {percent(min(shares[name] for name in others))}, " if others else ""
    return f"{rest}{last} {percent(shares[last])}"
