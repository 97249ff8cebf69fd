"""The effective configuration as TOML that `steelyard check` accepts again."""

import json
import re
from datetime import date, time
from typing import Any

from steelyard.config.root import Config

__all__ = ["show", "value_of"]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def show(config: Config) -> str:
    """The whole configuration in its long form, defaults included. What is absent by default stays absent."""
    lines: list[str] = []
    table(present(config.model_dump(mode="json")), "", lines)
    return "\n".join(lines).strip() + "\n"


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Without the keys that are None once written: what is off has been written as "off"."""
    return {
        key: present(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def table(values: dict[str, Any], name: str, lines: list[str]) -> None:
    """Plain keys first, since in TOML they belong to the header above them."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    plain = {key: value for key, value in values.items() if key not in tables and key != "routes"}
    if plain and name:
        lines += ["", f"[{name}]"]
    lines += [f"{key_of(key)} = {value_of(value)}" for key, value in plain.items()]
    for key, value in tables.items():
        table(value, f"{name}.{key_of(key)}" if name else key_of(key), lines)
        if key == "listeners" and not name:
            routes(values["routes"], lines)


def routes(values: list[dict[str, Any]], lines: list[str]) -> None:
    for route in values:
        lines += ["", "[[routes]]"]
        lines += [f"{key} = {value_of(value)}" for key, value in present(route).items()]


def key_of(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else string_of(key)


def string_of(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped as well;
    # and nothing in it may steer a terminal.
    return "".join(
        one if one.isprintable() else escaped(ord(one)) for one in json.dumps(text, ensure_ascii=False)
    )


def escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def value_of(value: Any) -> str:
    match value:
        case str():
            return string_of(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case date() | time():
            # Nothing of ours is one, but a file may hold one where something else belongs.
            return value.isoformat()
        case dict():
            if not value:
                return "{}"
            return "{ " + ", ".join(f"{key_of(key)} = {value_of(item)}" for key, item in value.items()) + " }"
        case _:
            return "[" + ", ".join(value_of(item) for item in value) + "]"
