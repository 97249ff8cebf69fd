"""Reads a scenario and gathers everything that is wrong with it."""

import copy
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from steelyard.config import later
from steelyard.config.problems import from_validation, without_what_is_wrong
from steelyard.config.source import Source, read, read_text
from steelyard.errors import ConfigError, Problem
from steelyard.sim.checks import problems_of
from steelyard.sim.scenario import Scenario

__all__ = ["checked", "load", "load_text", "read_scenario"]

CONFIGURATION = "steelyard init"
BEGIN_WITH = "examples/scenarios has some to begin with"
EXAMPLES = {
    "policies": 'policies = ["round_robin", "least_request"]',
    "endpoints": "endpoints = [{ count = 10, concurrency = 4 }]",
    "arrivals": 'arrivals = { kind = "poisson", rate = 100.0 }',
    "service": 'service = { kind = "exponential", mean = "20ms" }',
}
LISTS = ("endpoints", "faults")
# Keys that the one has and the other has not.
CONFIGURES = {"listen", "listeners", "pools", "routes"}
SCENARIO = {"arrivals", "service", "policies"}


def load(path: Path | str) -> Scenario:
    """The scenario in `path`. Raises ConfigError with every problem found."""
    path = Path(path)
    return checked(read_scenario(path), path.parent)


def load_text(text: str, name: str = "scenario") -> Scenario:
    """The scenario that `text` holds; errors call it `name`."""
    return checked(read_text(text, name))


def read_scenario(path: Path) -> Source:
    """The parsed file, not checked yet. Raises ConfigError where it cannot be read or is no TOML."""
    try:
        return read(path)
    except ConfigError as error:
        # What is said of a configuration must not lead the author of a scenario astray.
        raise ConfigError(
            [
                replace(one, hint=BEGIN_WITH) if one.hint and CONFIGURATION in one.hint else one
                for one in error.problems
            ]
        ) from None


def checked(source: Source, folder: Path | None = None) -> Scenario:
    """`folder` is where relative paths begin, and where a policy written in Python is looked for first."""
    if CONFIGURES & source.data.keys() and not SCENARIO & source.data.keys():
        hint = f"steelyard check reads it; {BEGIN_WITH}"
        raise ConfigError([Problem("this is a configuration, no scenario", None, hint, source.name)])
    context = {"folder": folder.absolute()} if folder else None
    source = Source(source.name, copy.deepcopy(source.data), source.positions)
    problems = later.take_out(source)
    try:
        scenario = Scenario.model_validate(source.data, context=context)
    except ValidationError as error:
        problems += (in_other_words(one) for one in from_validation(error, source, Scenario))
        # What is right so far is checked as well, so that all is told at once.
        rest = without_what_is_wrong(error, source.data)
        with suppress(ValidationError):
            told = {problem.key for problem in problems}
            further = problems_of(Scenario.model_validate(rest, context=context), source)
            # What was taken out since it is wrong is not missing as well.
            problems += (problem for problem in further if problem.key not in told)
        raise refused(problems) from None
    problems += problems_of(scenario, source)
    if problems:
        raise refused(problems)
    return scenario


def in_other_words(problem: Problem) -> Problem:
    """The same, with what only a scenario has: examples of its tables."""
    if problem.key in EXAMPLES and problem.message == "this key is missing":
        return replace(problem, hint=f"for instance {EXAMPLES[problem.key]}")
    if problem.key in LISTS and problem.message == "expected a list, found a table":
        return replace(problem, hint=f"write [[{problem.key}]] above each")
    table = (problem.key or "").partition("[")[0]
    if table in EXAMPLES and problem.message.startswith("expected a ") and not problem.hint:
        return replace(problem, hint=f"for instance {EXAMPLES[table]}")
    return problem


def refused(problems: list[Problem]) -> ConfigError:
    return ConfigError(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
