"""All checks, one after the other."""

from pathlib import Path

from steelyard.config.policy import POLICIES, setting_alone
from steelyard.config.score import compile_score, is_score
from steelyard.errors import UsageError
from steelyard.lint import black_hole, monotone, starvation, ties
from steelyard.lint.report import Finding, Report, Trial
from steelyard.lint.subject import Subject
from steelyard.sim.scenario import SEED_MAX

__all__ = ["lint"]

CHECKS = (ties.check, starvation.starvation, starvation.recovery, black_hole.check, monotone.check)


def lint(name: str, folder: Path, *, seed: int = 1) -> Report:
    """Tries the score of this name, whose module is looked for in `folder` first. One seed gives one report.

    Raises ScoreError where it cannot be compiled, and UsageError where that is no name of one.
    """
    own = name.partition(":")[0]
    if own in POLICIES and (not is_score(name) or setting_alone(name, folder)):
        raise UsageError(
            f'"{name}" is no policy written in Python',
            hint=f"{own} is the engine's own; steelyard simulate compares it",
        )
    if not is_score(name):
        raise UsageError(f'"{name}" is no policy written in Python', hint='write "mymodule:score"')
    if not 0 <= seed <= SEED_MAX:
        raise UsageError(f"{seed} is no seed", hint=f"from 0 to {SEED_MAX}")
    compiled = compile_score(name, folder)
    subject = Subject(name, folder, seed, compiled)
    told = [one for check in CHECKS for one in check(subject)]
    return Report(
        name,
        compiled.file,
        compiled.line,
        seed,
        [one for one in told if isinstance(one, Trial)],
        [one for one in told if isinstance(one, Finding)],
    )
