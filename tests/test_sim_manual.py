"""The manual shows what the scenarios say, and speaks of no policy that is not there."""

import re
import shlex
from pathlib import Path

from steelyard import sim
from steelyard.config import POLICIES
from steelyard.sim.policies import labels

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "choosing-a-policy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ (steelyard simulate [^\n]+)\n(.*?)```", PAGE, re.DOTALL)


def test_every_scenario_is_explained_and_shown_with_its_own_policies() -> None:
    shown = {}
    for command, printed in BLOCKS:
        path = ROOT / shlex.split(command)[2]
        table = printed.partition("\n\n")[0].splitlines()[1:]
        shown[path.name] = [line.split("  ")[0] for line in table]
        remedy = "run: make docs"
        assert shown[path.name] == labels(sim.load(path).policies), remedy
    assert set(shown) == {path.name for path in (ROOT / "examples" / "scenarios").glob("*.toml")}


def test_every_policy_there_is_has_a_word_in_the_manual_and_a_row_in_a_table() -> None:
    assert all(f"`{name}`" in PAGE for name in POLICIES)
    tables = [printed.partition("\n\n")[0].splitlines()[1:] for _, printed in BLOCKS]
    assert {line.split()[0] for table in tables for line in table} >= set(POLICIES)
