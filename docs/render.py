"""Runs the simulations of the manual: writes their tables into its pages, draws their pictures to docs/out.

`make docs` builds the engine as it ships and calls it; all in all that takes a few minutes.

A page shows a command, such as `$ steelyard simulate examples/scenarios/heterogeneous.toml`, at the top of a
block of code; the rest of the block is what the command prints, and is replaced. The tables follow from the
seeds, so that on every machine the same ones come out.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from steelyard import sim

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "out"
BALANCERS = (1, 2, 5, 20)
TABLE = re.compile(r"(<!-- balancers: [^\n]*-->)\n.*?(<!-- end -->)", re.DOTALL)
BLOCK = re.compile(r"```console\n\$ (steelyard simulate [^\n]+)\n.*?```", re.DOTALL)


def printed(command: str) -> str:
    """What the command prints, but for its first line, which says how fast it was; draws its picture."""
    words = shlex.split(command)
    picture = OUT / name_of(words)
    print(f"{command} --plot {picture.relative_to(ROOT)}", flush=True)
    run = [str(Path(sys.executable).parent / words[0]), *words[1:], "--plot", str(picture)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout.partition("\n")[2].strip("\n")


def name_of(words: list[str]) -> str:
    settings = [word.removeprefix("examples/scenarios/").removesuffix(".toml") for word in words[2:]]
    return re.sub(r"[^A-Za-z0-9_]+", "-", " ".join(settings)) + ".png"


def balancers() -> str:
    """What it costs that several balancers do not know of each other."""
    scenario = sim.load(ROOT / "examples/scenarios/many-balancers.toml")
    rows: list[list[str]] = []
    for count in BALANCERS:
        print(f"{count} balancers", flush=True)
        policies = sim.simulate(scenario.model_copy(update={"balancers": count})).policies
        if not rows:
            rows = [["balancers", *(f"`{one.name}`" for one in policies)], ["---"] * (len(policies) + 1)]
        times = (f"{milliseconds(one.mean_s)}, {milliseconds(one.p99_s)}" for one in policies)
        rows.append([str(count), *times])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3g} ms"


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        anew = BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{printed(block[1])}\n```", text)
        anew = TABLE.sub(lambda block: f"{block[1]}\n{balancers()}\n{block[2]}", anew)
        page.write_text(anew, encoding="utf-8")


if __name__ == "__main__":
    main()
