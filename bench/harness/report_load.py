"""What the loads have shown, as Markdown."""

from collections.abc import Callable

from harness.measure import DISTURBANCE_MAX, ENDPOINTS, Length, Sample
from harness.processes import LOAD_CORE, PROXY_CORE
from harness.report_table import table
from harness.results import OURS, Measured, Samples, median_of, ratio_of
from harness.scenarios import CONTEXT_ROUNDS, Scenario

# Above this the load generator or the endpoints may have been what limited, even at the fixed rate.
LOAD_CORE_SHARE_MAX = 0.9

# Below this at saturation, the product was not what limited.
CORE_SHARE_MIN = 0.95


def method(length: Length) -> str:
    """How every scenario was measured."""
    return f"""\
One proxy at a time, freshly started, pinned to core {PROXY_CORE} with one worker; the load generator and
{ENDPOINTS} origins (`steelyard-origin`) on core {LOAD_CORE}. {length.warmup_s:g} s of warm-up, \
{length.seconds:g} s measured, {length.rounds} interleaved rounds;
the figures are medians of the rounds. CPU is that of the whole process
tree, Python's too, from the scheduler's accounting. The rate is 60 % of the slowest product's maximum;
latency runs from when a request was due, so no stall is hidden. Every product but the relay chooses the
endpoint with the fewest requests, keeps its connections to the endpoints (checked), sets
X-Forwarded-For/-Proto/-Host, Forwarded and X-Request-Id (checked) in front of HTTP, and writes no log; health
checks are on where the product has them (nginx has none). Envoy and Caddy are there for context: at
saturation alone and in {CONTEXT_ROUNDS} rounds at most, since a rate that they reach would be a low one for
the others. The last column is what was used of the load's core, and in brackets by the generator itself."""


def load(measured: Measured) -> list[str]:
    """One scenario."""
    scenario = measured.scenario
    parts = [f"## {scenario.title}", scenario.method]
    rate = f"At one fixed rate of {measured.rate:,.0f} {scenario.units} per second"
    for title, samples in ((rate, measured.fixed), ("As much as goes", measured.saturated)):
        parts += [f"### {title}", *_tables(samples, scenario)]
    parts += _doubts_of_fixed(measured.fixed, scenario)
    return parts + _doubts_of_saturated(measured.saturated)


def _tables(samples: Samples, scenario: Scenario) -> list[str]:
    header = ["", "user µs", "sys µs", "total µs", f"{scenario.units}/s", "p50 µs", "p99 µs", "errors"]
    header += ["resident MiB", "load's core"]
    parts = [table(header, [_row(name, rounds) for name, rounds in samples.items()])]
    if OURS in samples and len(samples) > 1:
        rows = [[f"{OURS} / {name}", str(ratio_of(samples, name))] for name in samples if name != OURS]
        parts.append(table([f"CPU per {scenario.unit}", "median of the rounds (range)"], rows))
    disturbed = max((sample.disturbance for rounds in samples.values() for sample in rounds), default=0.0)
    if disturbed > DISTURBANCE_MAX:
        parts.append(f"The machine was not quiet: others used up to {disturbed:.0%} of the proxy's core.")
    return parts


def _row(name: str, samples: list[Sample]) -> list[str]:
    return [
        name,
        f"{median_of(samples, lambda sample: sample.user_us):.2f}",
        f"{median_of(samples, lambda sample: sample.system_us):.2f}",
        f"**{median_of(samples, lambda sample: sample.total_us):.2f}**",
        f"{median_of(samples, lambda sample: sample.per_second):,.0f}",
        f"{median_of(samples, lambda sample: sample.p50_us):,.0f}",
        f"{median_of(samples, lambda sample: sample.p99_us):,.0f}",
        str(sum(sample.errors for sample in samples)),
        f"{median_of(samples, lambda sample: sample.resident_kib) / 1024:.1f}",
        f"{median_of(samples, lambda sample: sample.load_core_share):.0%}"
        f" ({median_of(samples, lambda sample: sample.generator_share):.0%})",
    ]


def _doubts_of_fixed(samples: Samples, scenario: Scenario) -> list[str]:
    doubts = []
    behind = _where(samples, lambda sample: sample.backlog > scenario.at_once)
    if behind:
        doubts.append(f"The rate was not always reached by {behind}.")
    limited = _where(samples, lambda sample: sample.load_core_share > LOAD_CORE_SHARE_MAX)
    if limited:
        doubts.append(f"At the fixed rate the load's core was nearly full with {limited}: take care.")
    return doubts


def _doubts_of_saturated(samples: Samples) -> list[str]:
    limited = _where(samples, lambda sample: sample.core_share < CORE_SHARE_MIN)
    return (
        [f"At saturation the load's core, not the proxy's, was the limit for {limited}."] if limited else []
    )


def _where(samples: Samples, is_so: Callable[[Sample], bool]) -> str:
    return ", ".join(name for name, rounds in samples.items() if any(map(is_so, rounds)))
