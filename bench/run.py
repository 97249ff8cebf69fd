"""Measures Steelyard beside its peers and holds the result against the bars: `make bench`.

It sends nothing beyond 127.0.0.1. A full run writes `bench/RESULTS.md`; a quick or partial one only prints.
"""

import argparse
import json
import os
import resource
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import machine, micro, packages, products, report, scores, sim  # noqa: E402
from harness.measure import FULL, QUICK, Bench, Length, Sample  # noqa: E402
from harness.products import Product  # noqa: E402
from harness.results import Results  # noqa: E402

SECTIONS = ("load", "idle", "micro", "sim")
PRODUCTS = ("relay", "nginx", "haproxy", "steelyard")

# The share of the slowest product's maximum at which all are compared.
RATE_SHARE = 0.6


def main() -> int:
    arguments = _arguments()
    length = QUICK if arguments.quick else FULL
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if (os.cpu_count() or 1) < 2:
        sys.exit("two cores are needed: one for the proxy, one for load and endpoints")
    results = Results(machine=machine.description())
    peers = arguments.products if {"load", "idle"} & set(arguments.only) else []
    try:
        packages.ensure(peers)
    except packages.PeersMissing as missing:
        sys.exit(str(missing))
    binaries = micro.build_tools()
    chosen = [product for product in products.every(binaries) if product.name in peers]
    results.versions = {product.name: product.version() for product in chosen}
    with Bench.open(binaries) as bench:
        if "load" in arguments.only:
            _measure_load(bench, chosen, length, results)
        if "idle" in arguments.only:
            _measure_idle(bench, chosen, results)
    if "micro" in arguments.only:
        results.timings = micro.timings(quick=arguments.quick)
        results.scores = scores.measure(binaries, quick=arguments.quick)
        if shutil.which("valgrind"):
            results.instructions = micro.instructions(binaries)
        else:
            results.left_out["instruction counts"] = "valgrind is not installed"
    if "sim" in arguments.only:
        results.simulator = sim.measure(binaries, quick=arguments.quick)
    is_full = not arguments.quick and set(arguments.only) == set(SECTIONS) and len(chosen) == len(PRODUCTS)
    _write(results, length, is_full=is_full)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two short rounds, for a look; nothing is recorded"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"only these sections: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--products",
        nargs="+",
        choices=PRODUCTS,
        default=list(PRODUCTS),
        metavar="PRODUCT",
        help=f"only these products: {', '.join(PRODUCTS)}",
    )
    return parser.parse_args()


def _measure_load(bench: Bench, chosen: list[Product], length: Length, results: Results) -> None:
    results.rate = round(RATE_SHARE * min(_maximum(bench, product, length) for product in chosen))
    say(f"fixed rate: {results.rate:,.0f} requests/s")
    for number in range(length.rounds):
        # Every round begins with another product, so that none always follows the same one.
        start = number % len(chosen)
        for product in chosen[start:] + chosen[:start]:
            with bench.proxy(product) as (pid, port):
                fixed = bench.load(pid, port, length, rate=results.rate)
                saturated = bench.load(pid, port, length, rate=None)
            results.fixed.setdefault(product.name, []).append(fixed)
            results.saturated.setdefault(product.name, []).append(saturated)
            say(f"round {number + 1}, {product.name}: {_line(fixed)}; at most {_line(saturated)}")
    order = [product.name for product in chosen]
    results.fixed = {name: results.fixed[name] for name in order}
    results.saturated = {name: results.saturated[name] for name in order}


def _maximum(bench: Bench, product: Product, length: Length) -> float:
    with bench.proxy(product) as (pid, port):
        sample = bench.load(pid, port, length, rate=None)
    say(f"maximum of {product.name}: {_line(sample)}")
    return sample.rps


def _measure_idle(bench: Bench, chosen: list[Product], results: Results) -> None:
    for product in chosen:
        if product.parses:
            with bench.proxy(product) as (pid, port):
                results.idle[product.name] = memory = bench.idle(pid, port)
            say(f"idle, {product.name}: {memory.kib_each:.2f} KiB per connection")


def _line(sample: Sample) -> str:
    return (
        f"{sample.rps:,.0f}/s, {sample.user_us:.2f} + {sample.system_us:.2f} = {sample.total_us:.2f} µs,"
        f" p99 {sample.p99_us:,.0f} µs, {sample.errors} errors, core {sample.core_share:.0%},"
        f" others {sample.disturbance:.0%}"
    )


def _write(results: Results, length: Length, *, is_full: bool) -> None:
    out = HERE / "out"
    out.mkdir(exist_ok=True)
    text = report.markdown(results, length)
    (out / "results.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    (out / "RESULTS.md").write_text(text)
    if is_full:
        (HERE / "RESULTS.md").write_text(text)
    print(text)
    say(f"written: {HERE / 'RESULTS.md' if is_full else out / 'RESULTS.md'}, {out / 'results.json'}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
