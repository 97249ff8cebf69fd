"""What the configuration will know one day: refused with a plain word rather than ignored."""

from typing import Any

from steelyard.config.source import KeyPath, Source
from steelyard.errors import Problem

__all__ = ["take_out"]

LATER_KEYS: dict[KeyPath, str] = {
    ("access_log",): "the access log",
    ("admin", "listen"): "the admin API over TCP",
    ("admin", "token_file"): "the admin API over TCP",
}


def take_out(source: Source) -> list[Problem]:
    """Takes out of `source.data` what is not there yet, and says so for each."""
    problems = []
    for path, what in LATER_KEYS.items():
        table = table_at(source.data, path[:-1])
        if path[-1] in table:
            problems.append(source.problem(path, f"{what} is not there yet", "take it out until it is"))
            del table[path[-1]]
    return problems


def table_at(data: Any, path: KeyPath) -> dict[str | int, Any]:
    """The table that stands there; an empty one where none does."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}
