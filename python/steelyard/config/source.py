"""The text of a configuration and the place of each key in it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard import _core
from steelyard.errors import ConfigError, Problem

__all__ = ["FILE_BYTES_MAX", "KeyPath", "Source", "key_text", "read", "read_file", "read_text"]

KeyPath = tuple[str | int, ...]

FILE_BYTES_MAX = 8 * 2**20


@dataclass(frozen=True)
class Source:
    """What was read. `positions` gives the line and column of a key, both from 1."""

    name: str
    data: dict[str, Any]
    positions: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, hint: str | None = None) -> Problem:
        """A problem at `path`; its place is that of the nearest key that stands in the file."""
        line = column = None
        for end in range(len(path), 0, -1):
            if place := self.positions.get(path[:end]):
                line, column = place
                break
        return Problem(message, key_text(path) or None, hint, self.name, line, column)


def key_text(path: KeyPath) -> str:
    """`pools.app.endpoints[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def read(path: Path) -> Source:
    """The parsed file. Raises ConfigError where it cannot be read or is no TOML."""
    return read_text(read_file(path), str(path))


def read_file(path: Path) -> str:
    def failed(message: str, hint: str | None = None) -> ConfigError:
        return ConfigError([Problem(message, file=str(path), hint=hint)])

    try:
        if not path.exists():
            raise failed("there is no such file", "steelyard init writes one")
        if not path.is_file():
            raise failed("this is no file")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except PermissionError:
        raise failed("permission denied", "the user that runs steelyard must be able to read it") from None
    except OSError as error:
        raise failed((error.strerror or str(error)).lower()) from None
    if len(content) > FILE_BYTES_MAX:
        raise failed(
            f"the file is larger than {FILE_BYTES_MAX // 2**20} MiB", "is it a configuration at all?"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem("this is not UTF-8", None, "TOML is UTF-8 text", str(path), line, column)
        raise ConfigError([problem]) from None


def read_text(text: str, name: str) -> Source:
    """The parsed text, which errors call `name`. Raises ConfigError where it is no TOML."""
    try:
        positions = {tuple(path): (line, column) for path, line, column in _core.toml_positions(text)}
    except _core.TomlError as error:
        message, line, column = error.args
        raise ConfigError([syntax_problem(text, name, message, line, column)]) from None
    try:
        return Source(name, tomllib.loads(text), positions)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        # The Rust parser reads TOML 1.1, Python's 1.0; what only the newer one allows is refused here.
        message, _, place = str(error).partition(" (at line ")
        line, column = map(int, re.findall("[0-9]+", place)[:2] or (1, 1))
        hint = "an inline table stands on one line, for instance"
        raise ConfigError(
            [Problem(f"no TOML 1.0: {message.lower()}", None, hint, name, line, column)]
        ) from None


def syntax_problem(text: str, name: str, message: str, line: int, column: int) -> Problem:
    lines = text.splitlines()
    rest = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    hint = None
    if message == "duplicate key":
        word = rest.split("=")[0].split("]")[0].strip()
        message = f'"{word}" is here for the second time' if word else message
        hint = "keep one of them"
    elif message.startswith("string values must be quoted"):
        word = rest.split("#")[0].strip().rstrip(",]}").strip()
        message = "a value is missing" if not word else "this is no TOML value"
        hint = f'text stands in quotes: "{word}"' if word else "write it after the ="
    elif message.startswith("key with no value"):
        message = "this is no TOML"
        hint = "a line is key = value or [table]; steelyard init writes a file to begin with"
    return Problem(message, None, hint, name, line, column)
