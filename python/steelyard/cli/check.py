"""The commands `check`, also of a policy written in Python, and `version`."""

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from steelyard import config
from steelyard.cli.output import Table, console, counted, print_json, report, report_lines, say, tell, text_of
from steelyard.config.score import ScoreError
from steelyard.control import build_info
from steelyard.errors import ConfigError, UsageError
from steelyard.lint import Report, lint

__all__ = ["check", "check_policy", "version"]


def check(path: Path | None, *, show: bool, as_json: bool) -> None:
    found = config.find(path)
    result = checked(found, show=show, as_json=as_json)
    if as_json:
        print_json(result)


def check_policy(name: str, path: Path | None, *, seed: int, show: bool, as_json: bool) -> None:
    """Tries a policy written in Python; a configuration that is given beside it is checked as well."""
    if show and path is None:
        raise UsageError("--show prints a configuration", hint="name it: steelyard check CONFIG --policy ...")
    result = {} if path is None else checked(path, show=show, as_json=as_json)
    try:
        report = lint(name, path.parent if path else Path(), seed=seed)
    except ScoreError as error:
        if not as_json:
            raise
        print_json({**result, "policy": name, "seed": seed, "ok": False, "problems": [asdict(error.problem)]})
        raise typer.Exit(error.exit_code) from None
    if as_json:
        print_json({**result, **report.as_json()})
    else:
        tell_trials(report)
    if not report.ok:
        raise typer.Exit(UsageError.exit_code)


def checked(found: Path, *, show: bool, as_json: bool) -> dict[str, Any]:
    """Checks a configuration and says so, or gives what JSON says of it."""
    try:
        loaded = config.load(found)
    except ConfigError as error:
        if as_json:
            print_json(
                {"config": str(found), "ok": False, "problems": [asdict(one) for one in error.problems]}
            )
        else:
            report(error)
        raise typer.Exit(error.exit_code) from None
    warnings = config.warnings(loaded, found)
    result: dict[str, Any] = {
        "config": str(found),
        "ok": True,
        "problems": [],
        "warnings": [asdict(one) for one in warnings],
    }
    if as_json:
        if show:
            result["effective"] = loaded.model_dump(mode="json")
        return result
    for warning in warnings:
        say(f"warning: {warning}")
    if show:
        say(f"{found} is sound; with every default it is:")
        tell(config.show(loaded), newline=False)
    else:
        tell(f"{found} is sound: {summary(loaded)}")
    return result


def tell_trials(linted: Report) -> None:
    """The table of what was tried, and what is wrong."""
    out = console()
    out.print(policy_table(linted))
    for finding in linted.findings:
        say("")
        report_lines(linted.text(finding).splitlines())
    place = f"{linted.file}:{linted.line}"
    if linted.ok:
        tell(f"\n{linted.policy} is sound: {len(linted.trials)} trials, seed {linted.seed} ({place})")
    else:
        found = counted(len(linted.findings), "problem")
        say(f"\n{linted.policy} has {found} in {len(linted.trials)} trials, seed {linted.seed} ({place})")


def policy_table(linted: Report) -> Table:
    table = Table(padding=(0, 2, 0, 0))
    for name in ("tried", "compared", "seen", "sound if", ""):
        table.head(name, overflow="fold")
    before = None
    for trial in linted.trials:
        verdict = text_of("ok", "green") if trial.ok else text_of("wrong", "red")
        tried = "" if trial.tried == before else trial.tried
        table.row(tried, trial.compared or "-", trial.seen, trial.expected, verdict)
        before = trial.tried
    return table


def summary(loaded: config.Config) -> str:
    endpoints = sum(len(pool.endpoints) for pool in loaded.pools.values())
    counts = {
        "listener": len(loaded.listeners),
        "route": len(loaded.routes),
        "pool": len(loaded.pools),
        "endpoint": endpoints,
    }
    return ", ".join(counted(count, word) for word, count in counts.items() if count)


def version(*, as_json: bool) -> None:
    build = build_info()
    facts = {
        "steelyard": build.pop("version"),
        **build,
        "python": platform.python_version(),
    }
    if as_json:
        print_json(facts)
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        tell(f"{name:<{width}}  {value}")
