"""Reads, validates and checks a configuration, and gathers everything that is wrong with it."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from steelyard import _core
from steelyard.config import later
from steelyard.config.automatic import automatic_problems, is_of_obtained
from steelyard.config.document import document
from steelyard.config.files import tls_files
from steelyard.config.layer4 import layer4_problems
from steelyard.config.problems import from_validation, present, without_what_is_wrong
from steelyard.config.root import SHORT_FORM, SHORT_LISTENER, SHORT_POOL, Config, ConfigFile
from steelyard.config.short import mixed_forms, short_form_problems
from steelyard.config.source import KeyPath, Source, key_text, read, read_file, read_text
from steelyard.errors import ConfigError, Problem

__all__ = ["from_arguments", "load", "load_text", "problem_in", "warnings"]

# What the short form calls otherwise than the long one.
SHORT_PATHS: tuple[tuple[KeyPath, KeyPath], ...] = (
    (("listeners", SHORT_LISTENER, "bind"), ("listen",)),
    (("pools", SHORT_POOL, "endpoints"), ("endpoints",)),
    (("pools", SHORT_POOL, "policy"), ("policy",)),
    (("pools", SHORT_POOL, "health"), ("health",)),
)
# What the command line calls otherwise than the short form.
ARGUMENTS = {"listen": "--listen", "endpoints": "--to", "policy": "--policy", "health": "--health"}


def load(path: Path) -> Config:
    """The configuration in `path`. Raises ConfigError with every problem found."""
    return checked(read(path))


def load_text(text: str, name: str = "configuration") -> Config:
    """The configuration that `text` holds; errors call it `name`."""
    return checked(read_text(text, name))


def from_arguments(
    *, listen: Sequence[str], to: Sequence[str], policy: str | None, health: str | None
) -> Config:
    """The short form, given on a command line instead of in a file."""
    given = {"listen": list(listen), "endpoints": list(to), "policy": policy, "health": health}
    try:
        return checked(
            Source("command line", {key: value for key, value in given.items() if value is not None})
        )
    except ConfigError as error:
        raise ConfigError([replace(one, key=argument(one.key)) for one in error.problems]) from None


def argument(key: str | None) -> str | None:
    """What the person wrote: `--to` where a file has `endpoints[0]`."""
    name = (key or "").partition("[")[0]
    return ARGUMENTS.get(name, key)


# What a scenario of the simulator has, and no configuration.
SCENARIO = {"arrivals", "service"}


def checked(source: Source) -> Config:
    if SCENARIO & source.data.keys() and not {"listen", "listeners", "pools"} & source.data.keys():
        hint = f"steelyard simulate {source.name} runs it"
        raise ConfigError([Problem("this is a scenario, no configuration", None, hint, source.name)])
    source = Source(source.name, copy.deepcopy(source.data), source.positions)
    # Policies written in Python are looked for beside the file first.
    context = {"folder": Path(source.name).parent if Path(source.name).is_file() else Path.cwd()}
    problems = later.take_out(source)
    problems += mixed_forms(source)
    try:
        file = ConfigFile.model_validate(source.data, context=context)
    except ValidationError as error:
        problems += from_validation(error, source)
        # What is right so far is checked as well, so that all is told at once.
        rest = without_what_is_wrong(error, source.data)
        if rest is None:
            raise refused(problems) from None
        source = Source(source.name, rest, source.positions)
        try:
            file = ConfigFile.model_validate(rest, context=context)
        except ValidationError:
            raise refused(problems) from None
    incomplete = short_form_problems(source)
    config = file.expanded()
    automatic = list(automatic_problems(config, source))
    problems += automatic
    problems += layer4_problems(config, source)
    if not incomplete and not automatic:
        problems += from_engine(config, source)
    elif not problems:
        problems = incomplete
    if problems:
        raise refused(problems)
    return config


def refused(problems: list[Problem]) -> ConfigError:
    return ConfigError(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))


def from_engine(config: Config, source: Source) -> list[Problem]:
    """What the engine's own check of the document finds, at the place in the file."""
    whole = json.dumps(document(config))
    found: list[dict[str, Any]] = json.loads(_core.check(whole))
    if not found and tls_files(config):
        found = json.loads(_core.check_files(whole))["problems"]
        # What is not there yet, or no good, is obtained.
        found = [one for one in found if not is_of_obtained(config, tuple(one["path"]))]
    return [
        source.problem(file_path(tuple(one["path"]), source.data), one["message"], one["hint"])
        for one in found
    ]


def warnings(config: Config, path: Path) -> list[Problem]:
    """What somebody should know of a sound configuration, which stands in `path`."""
    found: list[dict[str, Any]] = json.loads(_core.check_files(json.dumps(document(config))))["warnings"]
    return [problem_in(path, str(path), tuple(one["path"]), one["message"], one["hint"]) for one in found]


def problem_in(path: Path, name: str, key: KeyPath, message: str, hint: str | None) -> Problem:
    """What the engine says of a key of the document, at its place in the file as it is now."""
    try:
        source = read_text(read_file(path), name)
    except ConfigError:
        return Problem(message, key_text(key), hint, name)
    return source.problem(file_path(key, source.data), message, hint)


def file_path(path: KeyPath, data: dict[str, Any]) -> KeyPath:
    """The key of the file that a path of the long form stands for."""
    if any(key in data for key in SHORT_FORM):
        for long, short in SHORT_PATHS:
            if path[: len(long)] == long:
                path = short + path[len(long) :]
                break
    return present(path, data) or path
