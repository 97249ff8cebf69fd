"""A policy as a command line writes it: `NAME`, or `NAME:KEY=VALUE,KEY=VALUE`."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from steelyard.config.base import did_you_mean
from steelyard.config.policy import POLICIES, PolicyTable, setting_alone
from steelyard.config.problems import from_validation
from steelyard.config.score import is_score
from steelyard.config.source import Source
from steelyard.errors import UsageError

__all__ = ["policy_of"]

# A quote opens a text only at its beginning, so that an apostrophe within one is a letter.
BARE = re.compile(r"[^,]*")
QUOTED = re.compile(r"""\s*(?:"(?:[^"\\]|\\.)*"|'[^']*')\s*""")
QUOTES = ('"', "'")


def policy_of(written: str, own: Mapping[str, PolicyTable], folder: Path) -> PolicyTable:
    """The scenario's own policy of this name, with its settings, or else the one that is written out."""
    if written in own:
        return own[written]
    name, settings = read_policy(written)
    if alone := setting_alone(name, folder):
        raise without_value(*alone)
    if name not in POLICIES and not is_score(name):
        raise unknown(name, [*own, *POLICIES])
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


def unknown(name: str, known: Sequence[str]) -> UsageError:
    hint = did_you_mean(name, known) or f"there are {', '.join(POLICIES)}"
    if all(part in known for part in re.split("[, ]+", name)):
        hint = "give --policy once for each"
    elif name.removesuffix(":") in known:
        hint = f'write "{name[:-1]}" where there are no settings'
    elif ":" in name or "=" in name:
        hint = 'one written in Python is "module:function", and a setting "ring_hash:key=cookie:sid"'
    return UsageError(f'unknown policy "{name}"', hint=hint)


def read_policy(written: str) -> tuple[str, dict[str, Any]]:
    """The name and the settings; values as in TOML, text also bare where it has no comma."""
    if "=" not in written:
        return written, {}
    before, _, value = written.partition("=")
    name, _, key = before.rpartition(":")
    if not name:
        raise unknown(written, POLICIES)
    found: dict[str, Any] = {}
    for setting, text in settings_of(f"{key}={value}", name):
        if setting == "name":
            raise UsageError(f'"{setting}" is no setting of a policy', hint=f"the policy is {name} already")
        if setting in found:
            raise UsageError(f'the setting "{setting}" of {name} is given twice', hint="keep one of them")
        found[setting] = value_of(setting, text)
    return name, found


def settings_of(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Each key with its value as it is written; those between quotes may hold commas."""
    while text:
        pair = before_comma(text)
        key, equals, _ = pair.partition("=")
        if pair and (not equals or not key.strip()):
            hint = f'write "{name}:{key.strip() or "key"}=...", or quotes around a value that holds a comma'
            raise UsageError(f'"{pair}" is no setting of a policy', hint=hint)
        if not pair:
            text = text[1:]
            continue
        rest = text[len(key) + 1 :]
        value = quoted_or_bare(key.strip(), rest)
        yield key.strip(), value.strip()
        text = rest[len(value) :].removeprefix(",")


def quoted_or_bare(key: str, text: str) -> str:
    """The value that a text begins with, up to the comma after it."""
    begin = text.lstrip()[:1]
    if begin not in QUOTES:
        return before_comma(text)
    found = QUOTED.match(text)
    if found is None:
        raise UsageError(
            f"the quote that the value of {key} begins with is not closed: {text}",
            hint=f"end it with {begin}, within quotes for the shell: --policy 'NAME:{key}=\"VALUE\"'",
        )
    after = text[found.end() :]
    if after and not after.startswith(","):
        raise UsageError(
            f'after the quoted value of {key} stands "{after}"', hint="a comma separates settings"
        )
    return found[0]


def before_comma(text: str) -> str:
    found = BARE.match(text)
    return found[0] if found else ""


def value_of(key: str, text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text.startswith(QUOTES):
            told = re.sub(r" \(at .*\)$", "", str(error)).lower()
            raise UsageError(
                f"the value of {key} is no text: {told}", hint="in '...' every letter stands for itself"
            ) from None
        return text
