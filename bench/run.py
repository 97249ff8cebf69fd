"""Measures Steelyard beside its peers and holds the result against the bars: `make bench`.

It sends nothing beyond 127.0.0.1. A full run writes `bench/RESULTS.md`; a quick or partial one only prints.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import machine, micro, packages, products, report, rounds, scores, sim  # noqa: E402
from harness.measure import FULL, QUICK, Bench, IdleMemory, Length  # noqa: E402
from harness.products.base import Product  # noqa: E402
from harness.results import Results  # noqa: E402
from harness.rounds import say  # noqa: E402
from harness.scenarios import HTTP1, SCENARIOS, TLS, Scenario  # noqa: E402

LOADS = tuple(scenario.name for scenario in SCENARIOS)
IDLE = {"idle": HTTP1, "idle-tls": TLS}
SECTIONS = (*LOADS, *IDLE, "micro", "sim")
PRODUCTS = ("relay", "nginx", "haproxy", "envoy", "caddy", "steelyard")


def main() -> int:
    arguments = _arguments()
    length = QUICK if arguments.quick else FULL
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if (os.cpu_count() or 1) < 2:
        sys.exit("two cores are needed: one for the proxy, one for load and endpoints")
    results = Results(machine=machine.description())
    peers = arguments.products if {*LOADS, *IDLE} & set(arguments.only) else []
    began = time.monotonic()
    try:
        packages.ensure([*peers, "openssl"] if peers else [])
    except packages.PeersMissing as problem:
        sys.exit(str(problem))
    binaries = micro.build_tools()
    missing = packages.ensure_wheels(peers)
    for name, why in missing.items():
        results.left_out[name] = why
        say(f"LEFT OUT: {name}: {why}")
    chosen = [
        product
        for product in products.every(binaries)
        if product.name in peers and product.name not in missing
    ]
    results.versions = {product.name: product.version() for product in chosen}
    with Bench.open(binaries) as bench:
        for scenario in SCENARIOS:
            if scenario.name in arguments.only:
                measured = rounds.measure(bench, scenario, chosen, length, results.left_out)
                results.measured += [measured] if measured else []
        for section, scenario in IDLE.items():
            if section in arguments.only:
                results.idle[section] = _measure_idle(bench, scenario, chosen, results.left_out)
    if "micro" in arguments.only:
        results.timings = micro.timings(quick=arguments.quick)
        results.scores = scores.measure(binaries, quick=arguments.quick)
        if shutil.which("valgrind"):
            results.instructions = micro.instructions(binaries)
        else:
            results.left_out["instruction counts"] = "valgrind is not installed"
    if "sim" in arguments.only:
        results.simulator = sim.measure(binaries, quick=arguments.quick)
    results.seconds = time.monotonic() - began
    is_full = (
        not arguments.quick
        and set(arguments.only) == set(SECTIONS)
        and set(arguments.products) == set(PRODUCTS)
    )
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


def _measure_idle(
    bench: Bench, scenario: Scenario, chosen: list[Product], left_out: dict[str, str]
) -> dict[str, IdleMemory]:
    found = {}
    for product in chosen:
        if product.name in (*scenario.compared, *scenario.context) and product.parses:
            with rounds.or_left_out(product, f"idle {scenario.name}", left_out):
                with bench.proxy(product, scenario) as proxy:
                    found[product.name] = memory = bench.idle(proxy)
                say(f"idle {scenario.name}, {product.name}: {memory.kib_each:.2f} KiB per connection")
    return found


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


if __name__ == "__main__":
    sys.exit(main())
