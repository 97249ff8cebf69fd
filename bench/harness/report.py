"""The results as Markdown."""

import statistics
from collections.abc import Sequence

from harness.measure import CONNECTIONS, DISTURBANCE_MAX, ENDPOINTS, IDLE_CONNECTIONS, Length, Sample
from harness.processes import LOAD_CORE, PROXY_CORE
from harness.results import OURS, Results, median_of
from harness.scores import Pick
from harness.sim import PEERS, SERVERS, UTILISATION, Speeds


def markdown(results: Results, length: Length) -> str:
    """The whole report, in the order: what it says, how it was measured, the tables."""
    parts = [
        "# Benchmark results",
        "Written by `make bench`; only ratios within one run carry over to another machine.",
        _machine(results),
        "## The bars",
        _table(
            ["what", "bar", "measured", "verdict"],
            [[bar.what, bar.bound, bar.shown, bar.verdict] for bar in results.bars()],
        ),
    ]
    if results.fixed:
        parts += ["## Small keep-alive requests, HTTP/1.1", _method(length)]
        parts += _load("fixed rate", f"At one fixed rate of {results.rate:,.0f} requests per second", results)
        parts += _load("saturation", "As much as goes", results)
    if results.idle:
        parts += ["## Memory", *_idle(results)]
    if results.timings:
        parts += ["## Small benches (criterion)", _timings(results)]
    if results.scores:
        parts += ["## Picks by scores written in Python", _scores(results.scores)]
    if results.instructions:
        parts += ["## Instructions per iteration (callgrind)", _instructions(results)]
    if results.simulator:
        parts += ["## Simulator", _simulator(results.simulator)]
    if results.left_out:
        parts += ["## Left out", "\n".join(f"- {name}: {why}" for name, why in results.left_out.items())]
    return "\n\n".join(parts) + "\n"


def _machine(results: Results) -> str:
    lines = [f"- {name}: {value}" for name, value in results.machine.items()]
    lines += [f"- {name}: {value}" for name, value in results.versions.items()]
    return "\n".join(lines)


def _method(length: Length) -> str:
    return f"""\
One proxy at a time, freshly started, pinned to core {PROXY_CORE} with one worker; the load generator and
{ENDPOINTS} origins (`steelyard-origin`, 62-byte bodies) on core {LOAD_CORE}.
{CONNECTIONS} keep-alive connections, {length.warmup_s:g} s of warm-up, {length.seconds:g} s measured,
{length.rounds} interleaved rounds; the figures are medians of the rounds. CPU is that of the whole process
tree, Python's too, from the scheduler's accounting. The rate is 60 % of the slowest product's maximum;
latency runs from when a request was due, so no stall is hidden. Every product but the relay chooses the
endpoint with the fewest requests, keeps its connections to the endpoints (checked), sets
X-Forwarded-For/-Proto/-Host, Forwarded and X-Request-Id (checked), and writes no log; health checks are on
where the product has them (nginx has none)."""


def _load(kind: str, title: str, results: Results) -> list[str]:
    samples = results.fixed if kind == "fixed rate" else results.saturated
    rows = [_load_row(name, rounds) for name, rounds in samples.items()]
    header = ["", "user µs", "sys µs", "total µs", "requests/s", "p50 µs", "p99 µs", "errors", "resident MiB"]
    parts = [f"### {title}", _table(header, rows)]
    if OURS in samples:
        ratios = [(name, results.ratio(samples, name)) for name in samples if name != OURS]
        rows = [[f"steelyard / {name}", str(ratio)] for name, ratio in ratios if ratio]
        parts.append(_table(["CPU per request", "median of the rounds (range)"], rows))
    parts += _doubts(samples)
    return parts


def _load_row(name: str, rounds: Sequence[Sample]) -> list[str]:
    samples = list(rounds)
    return [
        name,
        f"{median_of(samples, lambda sample: sample.user_us):.2f}",
        f"{median_of(samples, lambda sample: sample.system_us):.2f}",
        f"**{median_of(samples, lambda sample: sample.total_us):.2f}**",
        f"{median_of(samples, lambda sample: sample.rps):,.0f}",
        f"{median_of(samples, lambda sample: sample.p50_us):,.0f}",
        f"{median_of(samples, lambda sample: sample.p99_us):,.0f}",
        str(sum(sample.errors for sample in samples)),
        f"{median_of(samples, lambda sample: sample.resident_kib) / 1024:.1f}",
    ]


def _doubts(samples: dict[str, list[Sample]]) -> list[str]:
    disturbed = max(sample.disturbance for rounds in samples.values() for sample in rounds)
    behind = [
        name for name, rounds in samples.items() if any(sample.backlog > CONNECTIONS for sample in rounds)
    ]
    doubts = []
    if disturbed > DISTURBANCE_MAX:
        doubts.append(f"The machine was not quiet: others used up to {disturbed:.0%} of the proxy's core.")
    if behind:
        doubts.append(f"The rate was not always reached by {', '.join(behind)}.")
    return doubts


def _idle(results: Results) -> list[str]:
    rows = [
        [name, f"{memory.kib_each:.2f}", f"{memory.before_kib / 1024:.1f}", f"{memory.after_kib / 1024:.1f}"]
        for name, memory in results.idle.items()
    ]
    lost = [
        f"{name} had closed {memory.connections - memory.still_open} of them."
        for name, memory in results.idle.items()
        if memory.still_open < memory.connections
    ]
    return [
        f"Resident memory of the process tree with {IDLE_CONNECTIONS:,} idle keep-alive connections, each\n"
        "after one request, less that before (after a second of full load).",
        _table(["", "KiB per connection", "MiB before", "MiB with them"], rows),
        *lost,
    ]


def _timings(results: Results) -> str:
    rows = [
        [timing.name, f"{timing.median_ns:,.1f}", f"{timing.low_ns:,.1f} to {timing.high_ns:,.1f}"]
        for timing in results.timings
    ]
    return _table(["", "median ns", "95 % interval"], rows)


def _scores(scores: Sequence[Pick]) -> str:
    what = """\
Processor time of `Pool::admit` and release, ns, the median of the rounds. The Python score is compiled
as the product does it and reaches the pool by its address, as does its twin in Rust; the engine's own
policy is compiled into it."""
    rows = []
    for pick in scores:
        over_own = pick.over_own()
        rows.append(
            [
                pick.name,
                f"{statistics.median(pick.python_ns):.1f}",
                f"{statistics.median(pick.rust_ns):.1f}",
                f"{statistics.median(pick.own_ns):.1f} ({pick.own})" if pick.own else "",
                f"{pick.over_rust():.2f}",
                f"{over_own:.2f}" if over_own else "",
            ]
        )
    header = ["", "compiled from Python", "the same in Rust", "own policy", "Python / Rust", "Python / own"]
    return what + "\n\n" + _table(header, rows)


def _instructions(results: Results) -> str:
    return _table(["", "instructions"], [[case.name, f"{case.count:,.0f}"] for case in results.instructions])


def _simulator(speeds: Speeds) -> str:
    what = (
        f"Events (arrivals and completions) per second of one core, {len(speeds.two_choices)} rounds.\n"
        f"M/M/n: {SERVERS} servers at {UTILISATION:.0%} load; the mean times show that all simulate the same."
    )
    rows = [["two choices of 100 endpoints", f"{statistics.median(speeds.two_choices):,.0f}", "", ""]]
    for name in speeds.central:
        ratio = "" if name not in PEERS else f"{speeds.ratio(name):.1f}"
        rows.append([f"M/M/n, {name}", f"{speeds.median(name):,.0f}", f"{speeds.means_s[name]:.3f}", ratio])
    return what + "\n\n" + _table(["", "events/s", "mean time", "ours over it"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
