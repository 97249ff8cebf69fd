"""The results as Markdown."""

import statistics
from collections.abc import Sequence

from harness.measure import IDLE_CONNECTIONS, Length
from harness.report_load import load, method
from harness.report_table import table
from harness.results import Results
from harness.scores import Pick
from harness.sim import PEERS, SERVERS, UTILISATION, Speeds

IDLE_NAMES = {"idle": "HTTP/1.1", "idle-tls": "HTTP/1.1 over TLS"}


def markdown(results: Results, length: Length) -> str:
    """The whole report, in the order: what it says, how it was measured, the tables."""
    parts = [
        "# Benchmark results",
        "Written by `make bench`; only ratios within one run carry over to another machine.",
        _machine(results),
        "## The bars",
        table(
            ["what", "bar", "measured", "verdict"],
            [[bar.what, bar.bound, bar.shown, bar.verdict] for bar in results.bars()],
        ),
    ]
    if results.measured:
        parts += ["## How it was measured", method(length)]
    for measured in results.measured:
        parts += load(measured)
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
    lines.append(f"- the whole run took {results.seconds / 60:.0f} minutes")
    return "\n".join(lines)


def _idle(results: Results) -> list[str]:
    parts = [
        f"Resident memory of the process tree with {IDLE_CONNECTIONS:,} idle keep-alive connections, each\n"
        "after one request, less that before (after a second of full load)."
    ]
    for section, found in results.idle.items():
        rows = [
            [
                name,
                f"{memory.kib_each:.2f}",
                f"{memory.before_kib / 1024:.1f}",
                f"{memory.after_kib / 1024:.1f}",
            ]
            for name, memory in found.items()
        ]
        header = [IDLE_NAMES[section], "KiB per connection", "MiB before", "MiB with them"]
        parts.append(table(header, rows))
        parts += [
            f"{name} had closed {memory.connections - memory.still_open} of them."
            for name, memory in found.items()
            if memory.still_open < memory.connections
        ]
    return parts


def _timings(results: Results) -> str:
    rows = [
        [timing.name, f"{timing.median_ns:,.1f}", f"{timing.low_ns:,.1f} to {timing.high_ns:,.1f}"]
        for timing in results.timings
    ]
    return table(["", "median ns", "95 % interval"], rows)


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
    return what + "\n\n" + table(header, rows)


def _instructions(results: Results) -> str:
    return table(["", "instructions"], [[case.name, f"{case.count:,.0f}"] for case in results.instructions])


def _simulator(speeds: Speeds) -> str:
    what = (
        f"Events (arrivals and completions) per second of one core, {len(speeds.two_choices)} rounds.\n"
        f"M/M/n: {SERVERS} servers at {UTILISATION:.0%} load; the mean times show that all simulate the same."
    )
    rows = [["two choices of 100 endpoints", f"{statistics.median(speeds.two_choices):,.0f}", "", ""]]
    for name in speeds.central:
        ratio = "" if name not in PEERS else f"{speeds.ratio(name):.1f}"
        rows.append([f"M/M/n, {name}", f"{speeds.median(name):,.0f}", f"{speeds.means_s[name]:.3f}", ratio])
    return what + "\n\n" + table(["", "events/s", "mean time", "ours over it"], rows)
