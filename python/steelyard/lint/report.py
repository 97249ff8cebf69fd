"""What was tried, and what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Finding", "Report", "Trial", "listed", "percent"]


@dataclass(frozen=True)
class Trial:
    """One thing that was tried."""

    check: str
    """Which check: "ties", "starvation", "recovery", "black_hole" or "monotone"."""
    tried: str
    """The world, in words."""
    compared: str | None
    """"all" or "two" endpoints for each request; None where no request was needed."""
    seen: str
    expected: str
    ok: bool
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the requests, for each endpoint."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a score."""

    check: str
    compared: str | None
    message: str
    """What was seen, in numbers."""
    why: str
    """Why it matters."""
    hint: str
    """What to do about it."""


@dataclass(frozen=True)
class Report:
    """All about one score."""

    policy: str
    file: str
    line: int
    seed: int
    trials: Sequence[Trial]
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        return not self.findings

    def text(self, finding: Finding) -> str:
        """As a problem of a configuration is written, so that editors find the place."""
        return f"{self.file}:{self.line}: {finding.message}\nwhy: {finding.why}\nhint: {finding.hint}"

    def as_json(self) -> dict[str, Any]:
        place = {"file": self.file, "line": self.line}
        return {
            "policy": self.policy,
            "seed": self.seed,
            "ok": self.ok,
            "problems": [{**place, **asdict(finding)} for finding in self.findings],
            "trials": [asdict(trial) for trial in self.trials],
        }


def percent(share: float) -> str:
    """With a figure after the point."""
    return f"{share:.1%}".replace("%", " %")


NAMED_MAX = 3


def listed(shares: Mapping[str, float]) -> str:
    """Who gets the most, and what is left for the others."""
    by_share = sorted(shares.items(), key=lambda one: -one[1])
    named = [f"{name} {percent(share)}" for name, share in by_share[:NAMED_MAX]]
    rest = by_share[NAMED_MAX:]
    if rest:
        named.append(f"the other {len(rest)} at most {percent(rest[0][1])} each")
    return ", ".join(named)
