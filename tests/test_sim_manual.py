"""The manual shows what the scenarios say, and speaks of no policy that is not there."""

import re
import shlex
from pathlib import Path

from steelyard import sim
from steelyard.config import POLICIES
from steelyard.config.later import LATER_POLICIES
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


def test_no_policy_is_claimed_that_is_still_to_come() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.toml")]:
        text = page.read_text(encoding="utf-8")
        claimed = set(re.findall(r'[`"]([a-z0-9_]+)[`"]', text))
        assert not claimed & (LATER_POLICIES - set(POLICIES)), page


def test_every_policy_there_is_has_a_word_in_the_manual() -> None:
    assert all(f"`{name}`" in PAGE for name in POLICIES)
