"""Whether equal endpoints that are idle share alike."""

from collections.abc import Iterator

from steelyard.lint.report import Finding, Trial, listed, percent
from steelyard.lint.subject import Seen, Subject

__all__ = ["check"]

ENDPOINTS = 10
# Of a fair share: less or more than this is no chance with so many requests.
LOW, HIGH = 0.5, 1.5
TRIED = f"{ENDPOINTS} equal endpoints that joined one after the other, nearly always idle"
WHY = (
    "at low load nearly all are idle, and whoever is preferred then gets nearly everything; where several "
    "balancers decide alike, they all pick the same one"
)
# What may differ between endpoints that are equal and idle, and by how much.
DIFFERENCES = {"age": (60.0, 3600.0), "latency": (0.020, 0.021), "bytes_per_second": (0.0, 1e3)}


def check(subject: Subject) -> Iterator[Trial | Finding]:
    # All requests take as long, so that nothing tells the endpoints apart but when they joined.
    joins = [{"at": f"{20 * n}s", "endpoint": n, "kind": "add"} for n in range(1, ENDPOINTS)]
    found = subject.drive(
        [{"name": "endpoint", "count": ENDPOINTS}],
        joins,
        requests=20_000,
        replications=2,
        warmup=0.2,
        arrivals={"kind": "poisson", "rate": 5.0},
        service={"kind": "constant", "mean": "5ms"},
    )
    for seen in found:
        yield from judge(subject, seen)


def judge(subject: Subject, seen: Seen) -> Iterator[Trial | Finding]:
    fair = 1 / ENDPOINTS
    least, most = min(seen.shares.values()), max(seen.shares.values())
    ok = fair * LOW <= least and most <= fair * HIGH
    yield Trial(
        "ties",
        TRIED,
        seen.compared,
        f"{percent(least)} to {percent(most)}",
        f"{percent(fair * LOW)} to {percent(fair * HIGH)} each",
        ok,
        seen.shares,
    )
    if not ok:
        message = (
            f"idle equal endpoints do not share alike {seen.how}: {listed(seen.shares)}, "
            f"where each should get {percent(fair)}"
        )
        yield Finding("ties", seen.compared, message, WHY, hint(subject))


def hint(subject: Subject) -> str:
    """What it goes by though the endpoints are equal and idle."""
    goes_by = [
        name
        for name, (one, other) in DIFFERENCES.items()
        if subject.score(**{name: one}) != subject.score(**{name: other})
    ]
    if not goes_by:
        return "equal endpoints need equal scores: the engine then draws among them"
    names = " and ".join(f"endpoint.{name}" for name in goes_by)
    return f"leave out or round {names}, so that equal endpoints have equal scores: the engine then draws"
