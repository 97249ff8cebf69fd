"""How results and messages look: plain in a pipe, coloured on a terminal.

Whatever a user's file, a running instance or a log may have written goes through here, and nothing in it
steers a terminal or is taken for markup.
"""

import json
from collections.abc import Iterable
from typing import Any

import typer
from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from steelyard.errors import ConfigError, SteelyardError

__all__ = [
    "Table",
    "byte_text",
    "console",
    "counted",
    "print_json",
    "printable",
    "printable_json",
    "report",
    "report_lines",
    "say",
    "seconds_text",
    "tell",
    "text_of",
    "verdict_style",
]

PIPE_WIDTH = 200

VERDICT_STYLES = {
    "healthy": "green",
    "unknown": "yellow",
    "unhealthy": "red",
    "ejected": "red",
    "draining": "cyan",
}


def console(*, stderr: bool = False) -> Console:
    """Tables in a pipe are not cut at the 80 columns that a pipe is taken for."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


class Table(rich_table.Table):
    """A plain table, whose cells show what they are given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(box=None, pad_edge=False, **{"header_style": "dim", **options})

    def head(self, name: str, **options: Any) -> None:
        """One more column."""
        self.add_column(text_of(name), **options)

    def row(self, *cells: str | Text) -> None:
        """One more row. Texts are those of `text_of`."""
        self.add_row(*(text_of(cell) if isinstance(cell, str) else cell for cell in cells))


def text_of(words: str, style: str = "") -> Text:
    """The words as they are, to be shown in a style."""
    return Text(printable(words), style=style)


def print_json(value: Any) -> None:
    typer.echo(printable_json(json.dumps(value, indent=2)))


def tell(result: str, *, newline: bool = True) -> None:
    """A result, on standard output."""
    typer.echo(printable(result), nl=newline)


def say(message: str) -> None:
    """A message to the person at the terminal."""
    typer.echo(printable(message), err=True)


def printable(text: str) -> str:
    """The text with what would steer a terminal written out, which a name in a file may hold."""
    return "".join(one if one in "\n\t" or one.isprintable() else escaped(one) for one in text)


def escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def printable_json(text: str) -> str:
    """The same for JSON, in which it stays a document that says the same."""
    return "".join(one if one == "\n" or one.isprintable() else json_escaped(ord(one)) for one in text)


def json_escaped(code: int) -> str:
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def report(error: SteelyardError) -> None:
    """An error. Configuration errors begin with their place, so that editors find it."""
    lines = str(error).split("\n")
    if not isinstance(error, ConfigError):
        lines[0] = f"error: {lines[0]}"
    report_lines(lines)


def report_lines(lines: Iterable[str]) -> None:
    """On standard error; the word that a line begins with stands out where it says what the line is."""
    out = console(stderr=True)
    for line in lines:
        text = text_of(line)
        if line.startswith("hint: "):
            text.stylize("bold cyan", 0, 5)
        elif line.startswith("why: "):
            text.stylize("bold", 0, 4)
        elif line.startswith("error: "):
            text.stylize("bold red", 0, 6)
        out.print(text, soft_wrap=True)


def verdict_style(verdict: str) -> str:
    return VERDICT_STYLES.get(verdict, "")


def seconds_text(seconds: float | None) -> str:
    """Three figures and a unit."""
    if seconds is None:
        return "-"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return "0 s" if seconds == 0 else f"{seconds * 1e6:.2g} µs"


def counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def byte_text(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
