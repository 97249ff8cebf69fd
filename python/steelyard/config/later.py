"""What the configuration will know one day: refused with a plain word rather than ignored."""

from collections.abc import Iterator
from typing import Any

from steelyard.config.source import KeyPath, Source
from steelyard.errors import Problem

__all__ = ["take_out"]

# "*" stands for any name or index.
LATER_KEYS: dict[KeyPath, str] = {
    ("access_log",): "the access log",
    ("admin", "listen"): "the admin API over TCP",
    ("admin", "token_file"): "the admin API over TCP",
}
LATER_VALUES: dict[KeyPath, tuple[frozenset[object], str]] = {
    ("listeners", "*", "protocol"): (frozenset({"udp"}), 'the protocol "{}"'),
    ("listeners", "*", "proxy_protocol"): (frozenset({True}), "the PROXY protocol"),
}


def take_out(source: Source) -> list[Problem]:
    """Takes out of `source.data` what is not there yet, and says so for each."""
    problems = []

    def later(path: KeyPath, what: str, hint: str | None = None) -> None:
        problems.append(source.problem(path, f"{what} is not there yet", hint or "take it out until it is"))

    for pattern, what in LATER_KEYS.items():
        for path, table, _ in found(source.data, pattern):
            later(path, what)
            del table[path[-1]]
    for pattern, (values, what) in LATER_VALUES.items():
        for path, table, value in found(source.data, pattern):
            if isinstance(value, str | bool) and value in values:
                later(path, what.format(value))
                del table[path[-1]]
    return problems


def found(data: Any, pattern: KeyPath, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Each (path, container, value) that fits; a list first, since the caller deletes."""
    step, *rest = pattern
    if isinstance(data, dict):
        keys: list[str | int] = list(data) if step == "*" else [step] if step in data else []
    elif isinstance(data, list):
        keys = list(range(len(data))) if step == "*" else []
    else:
        keys = []
    for key in keys:
        here = (*path, key)
        if rest:
            yield from found(data[key], tuple(rest), here)
        else:
            yield here, data, data[key]
