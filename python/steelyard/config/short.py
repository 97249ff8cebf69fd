"""The short form beside the long one: refused, with what to write instead."""

from typing import Any

from steelyard.config.root import SHORT_FORM, SHORT_LISTENER, SHORT_POOL
from steelyard.config.show import value_of
from steelyard.config.source import Source
from steelyard.errors import Problem

__all__ = ["mixed_forms", "short_form_problems"]

LONG_FORM = {"listeners": "[listeners]", "pools": "[pools]", "routes": "[[routes]]"}


def mixed_forms(source: Source) -> list[Problem]:
    """Both forms in one file; the short one is taken out of the data, so that the rest is still checked."""
    short = [key for key in SHORT_FORM if key in source.data]
    long = [text for key, text in LONG_FORM.items() if key in source.data]
    if not (short and long):
        return []
    hint = "write the long form instead of " + ", ".join(short) + ":\n\n" + long_form(source.data)
    problem = source.problem((short[0],), f"the short form does not go with {' or '.join(long)}", hint)
    for key in short:
        del source.data[key]
    return [problem]


def short_form_problems(source: Source) -> list[Problem]:
    """What is missing from a file that is sound as far as it goes."""
    data = source.data
    given = [key for key in SHORT_FORM if key in data]
    examples = {"listen": 'listen = ":8080"', "endpoints": 'endpoints = ["127.0.0.1:9001"]'}
    if given:
        return [
            source.problem((given[0],), f'"{key}" is missing beside it', f"for instance {example}")
            for key, example in examples.items()
            if key not in data
        ]
    if not data.get("listeners"):
        smallest = "the smallest configuration is\n\n" + "\n".join(examples.values())
        return [source.problem((), "there is no listener, so nothing would be accepted", smallest)]
    return []


def long_form(data: dict[str, Any]) -> str:
    """The long form of the short keys in `data`, ready to paste."""
    lines = []
    if "listen" in data:
        listen = data["listen"]
        bind = [listen] if isinstance(listen, str) else listen
        lines += [f"[listeners.{SHORT_LISTENER}]", f"bind = {value_of(bind)}", f'pool = "{SHORT_POOL}"', ""]
    if any(key in data for key in ("endpoints", "policy", "health")):
        lines.append(f"[pools.{SHORT_POOL}]")
        lines += [f"{key} = {value_of(data[key])}" for key in ("endpoints", "policy") if key in data]
        if "health" in data:
            key, value = ("interval", "off") if data["health"] == "off" else ("path", data["health"])
            lines += ["", f"[pools.{SHORT_POOL}.health]", f"{key} = {value_of(value)}"]
    return "\n".join(lines).strip()
