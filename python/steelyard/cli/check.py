"""The commands `check` and `version`."""

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from steelyard import config
from steelyard.cli.output import counted, print_json, report, say
from steelyard.control import build_info
from steelyard.errors import ConfigError

__all__ = ["check", "version"]


def check(path: Path | None, *, show: bool, as_json: bool) -> None:
    found = config.find(path)
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
    if as_json:
        result: dict[str, Any] = {
            "config": str(found),
            "ok": True,
            "problems": [],
            "warnings": [asdict(one) for one in warnings],
        }
        if show:
            result["effective"] = loaded.model_dump(mode="json")
        print_json(result)
        return
    for warning in warnings:
        say(f"warning: {warning}")
    if show:
        say(f"{found} is sound; with every default it is:")
        typer.echo(config.show(loaded), nl=False)
    else:
        typer.echo(f"{found} is sound: {summary(loaded)}")


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
        typer.echo(f"{name:<{width}}  {value}")
