"""Runs a scenario on the engine's simulator."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from steelyard import _core
from steelyard.config.policy import PolicyTable
from steelyard.config.problems import present
from steelyard.config.source import KeyPath, Source
from steelyard.errors import ConfigError, UsageError
from steelyard.sim.checks import fault_endpoints, problems_of
from steelyard.sim.document import Prepared, prepare
from steelyard.sim.load import checked, read_scenario
from steelyard.sim.policies import labels
from steelyard.sim.result import Result
from steelyard.sim.scenario import SEED_MAX, Scenario
from steelyard.sim.written import policy_of

__all__ = ["Progress", "simulate"]

Progress = Callable[[float], None]
"""Called from time to time with the share that is done, from 0 to 1. What it raises ends the run."""


def simulate(
    scenario: Path | str | Scenario,
    *,
    folder: Path | None = None,
    seed: int | None = None,
    policies: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Compares the policies of a scenario: a file, or one that was loaded or made.

    `seed` and `policies` take the place of the scenario's own. A trace with a relative path is looked for in
    `folder`, else beside the file, else in the working directory. Every core is used, and the interpreter is
    released meanwhile.

    Raises ConfigError where the scenario is refused, and UsageError for a seed or a policy that cannot be.
    """
    if isinstance(scenario, Scenario):
        source = Source("scenario", scenario.model_dump(mode="json", exclude_none=True))
        if problems := problems_of(scenario, source):
            raise ConfigError(problems)
    else:
        path = Path(scenario)
        source = read_scenario(path)
        folder = path.parent if folder is None else folder
        scenario = checked(source, folder)
    folder = folder or Path()
    chosen = scenario.model_copy(update=overrides(scenario, seed, policies, folder))
    prepared = prepare(chosen, source, folder)
    refuse_what_the_engine_refuses(chosen, prepared, source, own=scenario.policies)
    told = None if progress is None else lambda done, total: progress(done / total)
    text = _core.simulate(json.dumps(prepared.document), told)
    found: dict[str, Any] = json.loads(text)
    found["warnings"] = [*prepared.notices, *found.get("warnings", []), *measured_nothing(found, chosen)]
    found["endpoints"] = [endpoint["name"] for endpoint in prepared.document["endpoints"]]
    found["faults"] = prepared.document["faults"]
    found["traces"] = prepared.traces
    return Result.model_validate(found)


def measured_nothing(found: dict[str, Any], scenario: Scenario) -> Iterator[str]:
    """Runs whose numbers say nothing about a policy, each with the reason."""
    uncounted = [one["name"] for one in found["policies"] if not one["requests"]]
    if uncounted:
        least = "give more requests, a longer duration or a smaller warmup"
        why = f"nothing arrived after the first {scenario.warmup:.0%} of the run, the warmup"
        yield f"{why}, under {', '.join(uncounted)}, so that nothing was measured; {least}"
    for one in found["policies"]:
        if one["requests"] and one["errors"] == one["requests"]:
            yield f"every request failed under {one['name']}, so that there are no times to compare"


def overrides(
    scenario: Scenario, seed: int | None, policies: Sequence[str] | None, folder: Path
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if seed is not None:
        if not 0 <= seed <= SEED_MAX:
            raise UsageError(f"{seed} is no seed", hint=f"from 0 to {SEED_MAX}")
        changed["seed"] = seed
    if policies is not None:
        if not policies or not all(isinstance(name, str) for name in policies):
            raise UsageError(
                "expected the names of policies",
                hint='one with settings is "ring_hash:key=cookie:sid", or the scenario\'s own by its name',
            )
        own = dict(zip(labels(scenario.policies), scenario.policies, strict=True))
        changed["policies"] = tuple(policy_of(name, own, folder) for name in dict.fromkeys(policies))
    return changed


def refuse_what_the_engine_refuses(
    scenario: Scenario, prepared: Prepared, source: Source, own: Sequence[PolicyTable]
) -> None:
    """`own` are the policies that the source holds; it bears no blame for others."""
    found: list[dict[str, Any]] = json.loads(_core.check_scenario(json.dumps(prepared.document)))
    if refused := next(options_refused(found, scenario, own), None):
        raise refused
    if found:
        problems = [
            source.problem(file_path(tuple(one["path"]), scenario, source), one["message"], one["hint"])
            for one in found
        ]
        raise ConfigError(list(dict.fromkeys(problems)))


def options_refused(
    found: Sequence[dict[str, Any]], scenario: Scenario, own: Sequence[PolicyTable]
) -> Iterator[UsageError]:
    """What is said of policies that were asked for beside the scenario's own."""
    for one in found:
        match one["path"]:
            case ["policies", int() as index, *_] if index < len(scenario.policies):
                policy = scenario.policies[index]
                if any(policy is read for read in own):
                    continue
                hint = one["hint"]
                if policy.model_fields_set == {"name"}:
                    # The engine shows a table, which an option is not.
                    asked = f"--policy '{policy.name}:key=cookie:sid'"
                    hint = f"write {asked}, or name it in the scenario with its key"
                yield UsageError(f"policy {policy.name}: {one['message']}", hint=hint)


def file_path(path: KeyPath, scenario: Scenario, source: Source) -> KeyPath:
    """The key of the file that a path of the document stands for, where groups and lists are expanded."""
    steps: list[str | int] = list(path)
    match steps:
        case ["pool", *rest]:
            steps = rest
        case ["arrivals", "times", *_]:
            steps = ["arrivals", "file"]
        case ["service", "samples", *_]:
            steps = ["service", "file"]
        case ["policies", int() as index, *_]:
            steps = ["policies", index]
        case ["endpoints", int() as index, *rest]:
            groups = [number for number, group in enumerate(scenario.endpoints) for _ in range(group.count)]
            steps = ["endpoints", *groups[index : index + 1], *rest]
        case ["faults", int() as index, *rest]:
            faults = [
                number
                for number, fault in enumerate(scenario.faults)
                for _ in fault_endpoints(fault, scenario.endpoints)
            ]
            steps = ["faults", *faults[index : index + 1], *rest]
    return present(tuple(steps), source.data) or tuple(steps)
