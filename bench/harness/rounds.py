"""One scenario: every product's maximum, then interleaved rounds at one rate and at saturation."""

import contextlib
import sys
from collections.abc import Iterator

from harness.fairness import CannotServe, Unfair
from harness.measure import Bench, Length, Sample
from harness.products.base import Product
from harness.results import Measured
from harness.scenarios import CONTEXT_ROUNDS, Scenario

# The share of the slowest product's maximum at which all are compared.
RATE_SHARE = 0.6


def measure(
    bench: Bench, scenario: Scenario, products: list[Product], length: Length, left_out: dict[str, str]
) -> Measured | None:
    """Everything about a scenario; a product that cannot do it is left out, with the reason."""
    chosen = [product for product in products if product.name in scenario.compared]
    maxima = {}
    for product in chosen:
        with or_left_out(product, scenario.name, left_out), bench.proxy(product, scenario) as proxy:
            sample = bench.load(proxy, length, rate=None)
            maxima[product.name] = sample.per_second
            say(f"{scenario.name}, maximum of {product.name}: {line(sample)}")
    chosen = [product for product in chosen if product.name in maxima]
    if not chosen:
        return None
    measured = Measured(scenario=scenario, rate=round(RATE_SHARE * min(maxima.values())))
    say(f"{scenario.name}, fixed rate: {measured.rate:,.0f} {scenario.units}/s")
    context = [product for product in products if product.name in scenario.context]
    for number in range(length.rounds):
        # Every round begins with another product, so that none always follows the same one.
        start = number % len(chosen)
        for product in chosen[start:] + chosen[:start]:
            with or_left_out(product, scenario.name, left_out), bench.proxy(product, scenario) as proxy:
                fixed = bench.load(proxy, length, rate=measured.rate)
                saturated = bench.load(proxy, length, rate=None)
                measured.fixed.setdefault(product.name, []).append(fixed)
                measured.saturated.setdefault(product.name, []).append(saturated)
                say(
                    f"{scenario.name}, round {number + 1}, {product.name}:"
                    f" {line(fixed)}; at most {line(saturated)}"
                )
        if number < CONTEXT_ROUNDS:
            context = [one for one in context if _context(bench, one, measured, length, left_out)]
    whole = [product.name for product in chosen if len(measured.fixed.get(product.name, [])) == length.rounds]
    measured.fixed = {name: measured.fixed[name] for name in whole}
    for_context = [product.name for product in context]
    measured.saturated = {name: measured.saturated[name] for name in [*whole, *for_context]}
    return measured


def _context(
    bench: Bench, product: Product, measured: Measured, length: Length, left_out: dict[str, str]
) -> bool:
    """A round of one that is there for context; `False` when it cannot do this."""
    scenario = measured.scenario
    with or_left_out(product, scenario.name, left_out), bench.proxy(product, scenario) as proxy:
        sample = bench.load(proxy, length, rate=None)
        measured.saturated.setdefault(product.name, []).append(sample)
        say(f"{scenario.name}, for context, {product.name}: at most {line(sample)}")
        return True
    return False


@contextlib.contextmanager
def or_left_out(product: Product, what: str, left_out: dict[str, str]) -> Iterator[None]:
    """Goes on without a product that cannot do what a scenario asks of it, and says so."""
    try:
        yield
    except (CannotServe, Unfair, RuntimeError) as problem:
        left_out[f"{product.name} in {what}"] = " ".join(str(problem).split())
        say(f"LEFT OUT: {product.name} in {what}: {problem}")


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
