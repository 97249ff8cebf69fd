"""One scenario: every product's maximum, then interleaved rounds at one rate and at saturation."""

import contextlib
import sys
from collections.abc import Iterator

from harness.measure import Bench, CannotServe, Length, Sample, Unfair
from harness.products.base import Product
from harness.results import Measured
from harness.scenarios import Scenario

# The share of the slowest product's maximum at which all are compared.
RATE_SHARE = 0.6


def measure(
    bench: Bench, scenario: Scenario, products: list[Product], length: Length, left_out: dict[str, str]
) -> Measured | None:
    """Everything about a scenario; a product that cannot do it is left out, with the reason."""
    chosen = [product for product in products if product.name in scenario.compared]
    maxima = {}
    for product in chosen:
        with _or_left_out(product, scenario, left_out), bench.proxy(product, scenario) as proxy:
            sample = bench.load(proxy, length, rate=None)
            maxima[product.name] = sample.per_second
            say(f"{scenario.name}, maximum of {product.name}: {line(sample)}")
    chosen = [product for product in chosen if product.name in maxima]
    if not chosen:
        return None
    measured = Measured(scenario=scenario, rate=round(RATE_SHARE * min(maxima.values())))
    say(f"{scenario.name}, fixed rate: {measured.rate:,.0f} {scenario.units}/s")
    for number in range(length.rounds):
        # Every round begins with another product, so that none always follows the same one.
        start = number % len(chosen)
        for product in chosen[start:] + chosen[:start]:
            with _or_left_out(product, scenario, left_out), bench.proxy(product, scenario) as proxy:
                fixed = bench.load(proxy, length, rate=measured.rate)
                saturated = bench.load(proxy, length, rate=None)
                measured.fixed.setdefault(product.name, []).append(fixed)
                measured.saturated.setdefault(product.name, []).append(saturated)
                say(
                    f"{scenario.name}, round {number + 1}, {product.name}:"
                    f" {line(fixed)}; at most {line(saturated)}"
                )
    whole = [product.name for product in chosen if len(measured.fixed.get(product.name, [])) == length.rounds]
    measured.fixed = {name: measured.fixed[name] for name in whole}
    measured.saturated = {name: measured.saturated[name] for name in whole}
    return measured


@contextlib.contextmanager
def _or_left_out(product: Product, scenario: Scenario, left_out: dict[str, str]) -> Iterator[None]:
    try:
        yield
    except (CannotServe, Unfair, RuntimeError) as problem:
        left_out[f"{product.name} in {scenario.name}"] = " ".join(str(problem).split())
        say(f"LEFT OUT: {product.name} in {scenario.name}: {problem}")


def line(sample: Sample) -> str:
    """A sample in one line, for whoever watches."""
    return (
        f"{sample.per_second:,.0f}/s, {sample.user_us:.2f} + {sample.system_us:.2f} = {sample.total_us:.2f}"
        f" µs, p99 {sample.p99_us:,.0f} µs, {sample.errors} errors, core {sample.core_share:.0%},"
        f" others {sample.disturbance:.0%}, load's core {sample.load_core_share:.0%}"
        f" (generator {sample.generator_share:.0%})"
    )


def say(text: str) -> None:
    """To whoever watches."""
    print(text, file=sys.stderr, flush=True)
