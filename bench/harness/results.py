"""What was measured in one go, and the bars it is held against."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from harness.measure import IdleMemory, Sample
from harness.micro import Instructions, Timing
from harness.scenarios import SCENARIOS, Bound, Scenario
from harness.scores import ENDPOINTS, Pick
from harness.sim import PEERS, Speeds

OURS = "steelyard"

IDLE_KIB_BAR = 1.3
# One pick, by how many endpoints there are, of the policies that draw a sample or look into a table.
PICK_NS_BARS = {10: 50.0, 100: 200.0}
# Those that compare all: `rendezvous` by its definition, the others in a small pool; in a larger one
# they draw two.
SCANS = {
    10: ("rendezvous", "least_request", "least_load", "least_time", "sticky"),
    100: ("rendezvous",),
}
SCORE_RATIO_BAR = 3.0
SIMULATOR_BAR = 5e6
SIMULATOR_RATIO_BAR = 100.0


@dataclass(frozen=True)
class Ratio:
    """A ratio of two products: the median of the rounds, and their range."""

    median: float
    low: float
    high: float
    rounds: int
    # Rounds that did not count because something else ran on the proxy's core.
    left_out: int
    is_sound: bool

    def __str__(self) -> str:
        without = f", {self.left_out} disturbed ones left out" if self.left_out else ""
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f}, {self.rounds} rounds{without})"


@dataclass(frozen=True)
class Bar:
    """One thing that must be reached, or that is shown without being held against anything."""

    what: str
    # None where there is nothing that it must reach.
    limit: float | None
    reached: float | None
    shown: str
    # False when something else ran on the proxy's core all the time.
    is_sound: bool = True
    # Whether the limit is the least that must be reached rather than the most.
    is_floor: bool = False

    @property
    def verdict(self) -> str:
        if self.reached is None:
            return "not measured"
        if self.limit is None:
            return "shown, no bar"
        if not self.is_sound:
            return "undecided: the machine was not quiet"
        share = self.limit / self.reached if self.is_floor else self.reached / self.limit
        return "met" if share <= 1 else f"**missed** by {share - 1:.1%}"

    @property
    def bound(self) -> str:
        """The limit as it is read."""
        if self.limit is None:
            return "-"
        return f">= {self.limit:,g}" if self.is_floor else f"<= {self.limit:g}"


Samples = dict[str, list[Sample]]


@dataclass
class Measured:
    """What came of one scenario: by product, one sample a round."""

    scenario: Scenario
    rate: float
    fixed: Samples = field(default_factory=dict)
    saturated: Samples = field(default_factory=dict)

    def bars(self) -> list[Bar]:
        return [self._bar(bound) for bound in self.scenario.bounds]

    def _bar(self, bound: Bound) -> Bar:
        what = bar_name(self.scenario, bound)
        there = [name for name in bound.against if name in self.fixed]
        if OURS not in self.fixed or not there:
            return Bar(what, bound.limit, None, "not measured")
        best = min(there, key=lambda name: median_of(self.fixed[name], lambda sample: sample.total_us))
        ratio = ratio_of(self.fixed, best)
        shown = f"{ratio}, {best}" if len(bound.against) > 1 else str(ratio)
        if missing := [name for name in bound.against if name not in there]:
            shown += f"; without {', '.join(missing)}"
        return Bar(what, bound.limit, ratio.median, shown, is_sound=ratio.is_sound)


def bar_name(scenario: Scenario, bound: Bound) -> str:
    """What a bar is about."""
    best = "" if len(bound.against) == 1 else "best of "
    return f"{scenario.title}: CPU per {scenario.unit} / {best}{', '.join(bound.against)}, fixed rate"


def ratio_of(samples: Samples, other: str) -> Ratio:
    """Our CPU per unit over another's, round by round.

    Rounds in which either had its core to itself only in part are left out, unless all of them are so.
    """
    # Those that are there for context have fewer rounds, the first ones.
    pairs = list(zip(samples[OURS], samples[other], strict=False))
    quiet = [(ours, theirs) for ours, theirs in pairs if ours.is_quiet and theirs.is_quiet]
    ratios = [ours.total_us / theirs.total_us for ours, theirs in quiet or pairs]
    return Ratio(
        median=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        rounds=len(ratios),
        left_out=len(pairs) - len(ratios),
        is_sound=bool(quiet),
    )


@dataclass
class Results:
    """Everything of one run; what was left out is empty."""

    machine: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    measured: list[Measured] = field(default_factory=list)
    # By section, then by product.
    idle: dict[str, dict[str, IdleMemory]] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    instructions: list[Instructions] = field(default_factory=list)
    scores: list[Pick] = field(default_factory=list)
    simulator: Speeds | None = None
    # Sections that could not be measured, with the reason.
    left_out: dict[str, str] = field(default_factory=dict)

    def bars(self) -> list[Bar]:
        bars = self._cpu_bars()
        bars.append(self._idle_bar())
        bars += self._pick_bars()
        return bars + self._score_bars() + self._simulator_bars()

    def as_json(self) -> dict[str, object]:
        idle = {
            section: {name: {**asdict(memory), "kib_each": memory.kib_each} for name, memory in found.items()}
            for section, found in self.idle.items()
        }
        bars = [{**asdict(bar), "verdict": bar.verdict} for bar in self.bars()]
        return {**asdict(self), "idle": idle, "bars": bars}

    def _cpu_bars(self) -> list[Bar]:
        measured = {one.scenario.name: one for one in self.measured}
        bars = []
        for scenario in SCENARIOS:
            if one := measured.get(scenario.name):
                bars += one.bars()
            else:
                bars += [
                    Bar(bar_name(scenario, bound), bound.limit, None, "not measured")
                    for bound in scenario.bounds
                ]
        return bars

    def _idle_bar(self) -> Bar:
        memory = self.idle.get("idle", {}).get(OURS)
        reached = memory.kib_each if memory else None
        shown = f"{reached:.2f} KiB" if reached is not None else "not measured"
        return Bar("resident memory per idle connection, KiB", IDLE_KIB_BAR, reached, shown)

    def _score_bars(self) -> list[Bar]:
        """The worst of all scores: against one in Rust that is called alike, and against a policy in Rust."""
        what = f"one pick of {ENDPOINTS} by a score compiled from Python"
        alike = {pick.name: pick.over_rust() for pick in self.scores}
        own = {f"{pick.name}: {pick.own}": over for pick in self.scores if (over := pick.over_own())}
        return [
            _worst(f"{what} / by the same in Rust", SCORE_RATIO_BAR, alike),
            _worst(f"{what} / by the engine's own policy that computes it", SCORE_RATIO_BAR, own),
        ]

    def _simulator_bars(self) -> list[Bar]:
        speeds = self.simulator
        rate = statistics.median(speeds.two_choices) if speeds else None
        what = "simulator, events/s on one core, two choices of 100 endpoints"
        shown = f"{rate / 1e6:.2f} million" if rate else "not measured"
        bars = [Bar(what, SIMULATOR_BAR, rate, shown, is_floor=True)]
        for peer in PEERS:
            ratio = speeds.ratio(peer) if speeds else None
            shown = f"{ratio:.1f}" if ratio else "not measured"
            bars.append(Bar(f"simulator / {peer}, M/M/n", SIMULATOR_RATIO_BAR, ratio, shown, is_floor=True))
        return bars

    def _pick_bars(self) -> list[Bar]:
        """The slowest policy of each kind at each size; scans grow with the endpoints by definition."""
        bars = []
        for size, limit in PICK_NS_BARS.items():
            picks = self._picks_of(size)
            drawn = {name: ns for name, ns in picks.items() if name not in SCANS[size]}
            scanned = {name: ns for name, ns in picks.items() if name in SCANS[size]}
            what = f"one pick of {size} endpoints"
            bars.append(_slowest(f"{what}, slowest policy that draws or looks up", limit, drawn))
            bars.append(_slowest(f"{what}, slowest policy that compares all", None, scanned))
        return bars

    def _picks_of(self, size: int) -> dict[str, float]:
        """By policy, the median of a pick in nanoseconds, with nothing else going on."""
        found = {}
        for timing in self.timings:
            group, *rest = timing.name.split("/")
            if group == "alone" and len(rest) == 2 and rest[1] == str(size):
                found[rest[0]] = timing.median_ns
        return found


def _slowest(what: str, limit: float | None, picks: dict[str, float]) -> Bar:
    if not picks:
        return Bar(what, limit, None, "not measured")
    name, slowest = max(picks.items(), key=lambda one: one[1])
    # A single number would say nothing of the others.
    others = sorted(picks.items(), key=lambda one: -one[1])[1:3]
    behind = "".join(f", {other} {ns:.1f}" for other, ns in others)
    return Bar(what, limit, slowest, f"{slowest:.1f} ns ({name}{behind})")


def _worst(what: str, limit: float, ratios: dict[str, float]) -> Bar:
    if not ratios:
        return Bar(what, limit, None, "not measured")
    name, ratio = max(ratios.items(), key=lambda one: one[1])
    return Bar(what, limit, ratio, f"{ratio:.2f} ({name})")


def median_of(samples: list[Sample], value: Callable[[Sample], float]) -> float:
    return statistics.median(map(value, samples))
