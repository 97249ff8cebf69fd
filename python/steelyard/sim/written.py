"""A policy that is compared instead of the scenario's, as a command line writes it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from steelyard.config.base import did_you_mean
from steelyard.config.policy import POLICIES, PolicyTable, setting_alone
from steelyard.config.problems import from_validation
from steelyard.config.score import is_score
from steelyard.config.source import Source
from steelyard.config.written import read_policy, unknown_policy
from steelyard.errors import UsageError

__all__ = ["policy_of"]


def policy_of(written: str, own: Mapping[str, PolicyTable], folder: Path) -> PolicyTable:
    """The scenario's own policy of this name, with its settings, or else the one that is written out."""
    if written in own:
        return own[written]
    name, settings = read_policy(written)
    if alone := setting_alone(name, folder):
        raise without_value(*alone)
    if name not in POLICIES and not is_score(name):
        raise unknown_policy(name, [*own, *POLICIES])
    try:
        return PolicyTable.model_validate({"name": name, **settings}, context={"folder": folder.absolute()})
    except ValidationError as error:
        source = Source("", {"name": name, **settings})
        problem = next(from_validation(error, source, PolicyTable))
        message = ": ".join(part for part in (f"policy {name}", problem.key, problem.message) if part)
        raise UsageError(message, hint=problem.hint) from None


def without_value(policy: str, word: str) -> UsageError:
    """What looks like a function in a module of the policy's name, where there is no such module."""
    known = [name for name in PolicyTable.model_fields if name != "name"]
    if word in known:
        value = "cookie:sid" if word == "key" else "VALUE"
        return UsageError(
            f'"{policy}:{word}" gives the setting "{word}" no value', hint=f"write '{policy}:{word}={value}'"
        )
    hint = did_you_mean(word, known) or f"settings are written '{policy}:key=VALUE'"
    return UsageError(
        f'{policy} has no setting "{word}", and there is no module {policy} for a policy in Python', hint=hint
    )
