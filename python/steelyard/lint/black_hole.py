"""Whether an endpoint that fails fast draws the requests to itself."""

from collections.abc import Iterator

from steelyard.lint.report import Finding, Trial, percent
from steelyard.lint.subject import Seen, Subject

__all__ = ["check"]

ENDPOINTS = 10
# Of two drawn endpoints one that wins every comparison gets no more than this.
CAP_OF_TWO = 2 / ENDPOINTS
# How much more than the engine's own policy gives it is too much, unless it is hardly more than fair.
OVER_OWN, OVER_FAIR = 1.5, 1.2
TRIED = f"{ENDPOINTS} equal endpoints of which one fails every request in 1 ms, 70 % load"
WHY = (
    "what fails fast is always idle and looks quick; every request that goes there is lost, for as long as "
    "health checks take to notice, and for ever where they do not see it"
)
HINT = (
    "a failure must raise the score: multiply by (1 + 10 * endpoint.error_rate), for instance; "
    "endpoint.in_flight and endpoint.latency have failures in them already"
)


def check(subject: Subject) -> Iterator[Trial | Finding]:
    service_s, load = 0.02, 0.7
    found = subject.drive(
        [{"name": "failing"}, {"name": "endpoint", "count": ENDPOINTS - 1}],
        [{"at": "0s", "endpoint": "failing", "kind": "fail_fast"}],
        requests=20_000,
        replications=4,
        # The others carry what it does not.
        arrivals={"kind": "poisson", "rate": load * (ENDPOINTS - 1) / service_s},
        service={"kind": "exponential", "mean": f"{service_s}s"},
    )
    for seen in found:
        yield from judge(seen)


def judge(seen: Seen) -> Iterator[Trial | Finding]:
    got, own = seen.shares["failing"], seen.reference["failing"]
    most = max(OVER_OWN * own, OVER_FAIR / ENDPOINTS)
    ok = got <= most
    yield Trial(
        "black_hole",
        TRIED,
        seen.compared,
        f"failing {percent(got)}",
        f"failing {percent(most)} or less",
        ok,
        seen.shares,
    )
    if not ok:
        cap = f", of at most {percent(CAP_OF_TWO)}" if seen.compared == "two" else ""
        message = (
            f"an endpoint that fails every request at once gets {percent(got)} of them {seen.how}{cap}; "
            f"{seen.own_policy} gives it {percent(own)}"
        )
        yield Finding("black_hole", seen.compared, message, WHY, HINT)
