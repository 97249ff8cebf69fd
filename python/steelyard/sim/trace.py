"""Traces: real requests, read from a log. What a log line says is in `formats.py`."""

import codecs
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from steelyard.config.base import Model, one_of
from steelyard.config.units import count, refuse
from steelyard.errors import ConfigError, Problem
from steelyard.sim.formats import EXAMPLES, FORMATS, NAMES, BrokenLine, Record, recognised
from steelyard.sim.result import TraceRead

__all__ = ["Trace", "TraceTable", "read_trace"]

TRACE_LINES_MAX = 2_000_000
LINE_BYTES_MAX = 64 * 1024
# How far into the file its format is looked for.
RECOGNISED_WITHIN_LINES = 50
# How much of a line that nobody can read is shown.
SHOWN_CHARACTERS_MAX = 80
# Some answers are no service: the client left (499), the proxy or the server failed.
SERVED_STATUS_MAX = 498


def number_of_lines(value: object) -> int | None:
    number = count(value)
    if number is not None and number > TRACE_LINES_MAX:
        raise refuse(f"{number} is out of range", f"at most {TRACE_LINES_MAX}")
    return number


class TraceTable(Model):
    """A log file."""

    file: Annotated[str, Field(min_length=1)]
    """The log; a relative path begins at the folder of the scenario."""
    format: Annotated[
        Literal["auto", "json", "nginx", "haproxy"], one_of("format of a trace", "auto", *FORMATS)
    ] = "auto"
    """"auto" recognises JSON lines, nginx's combined log with $request_time, and HAProxy's httplog."""
    skip_broken: bool = False
    """Leave out lines that cannot be read, and say how many, instead of refusing the file."""
    lines_max: Annotated[
        int,
        BeforeValidator(
            number_of_lines, json_schema_input_type=Annotated[int, Field(ge=1, le=TRACE_LINES_MAX)]
        ),
    ] = TRACE_LINES_MAX
    """Only so many lines are read, from the beginning of the file."""


@dataclass
class Trace:
    """What a log says, and what of it should be known to whoever relies on it."""

    arrivals_s: list[float] = field(default_factory=list)
    """When each request arrived, in order, the first at 0."""
    durations_s: list[float] = field(default_factory=list)
    """How long each request that was answered well took."""
    notices: list[str] = field(default_factory=list)
    read: TraceRead | None = None


def read_trace(table: TraceTable, folder: Path) -> Trace:
    """Reads the file. Raises ConfigError with the place of a line that cannot be read."""
    path = folder / table.file
    try:
        if path.is_char_device() or path.is_block_device():
            # Some of them never end.
            raise ConfigError([Problem("this is no file", file=str(path))])
        with path.open("rb") as file:
            numbered = enumerate(bounded_lines(file.readline, path), 1)
            return gather(table, path, ((number, line) for number, line in numbered if line.strip()))
    except FileNotFoundError:
        raise ConfigError([Problem("there is no such file", file=str(path))]) from None
    except OSError as error:
        raise ConfigError([Problem((error.strerror or str(error)).lower(), file=str(path))]) from None


def bounded_lines(readline: Callable[[int], bytes], path: Path) -> Iterator[str]:
    """Each line; of one that is too long only as much as shows that it is."""
    line = without_mark(readline(LINE_BYTES_MAX + 1), path)
    while line:
        yield line.decode("utf-8", "replace")
        while line and not line.endswith(b"\n"):
            line = readline(LINE_BYTES_MAX)
        line = readline(LINE_BYTES_MAX + 1)


def without_mark(line: bytes, path: Path) -> bytes:
    """The first line without the byte order mark that some editors and shells put before UTF-8."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        hint = "write it anew in UTF-8, for instance with iconv -f UTF-16 -t UTF-8"
        raise ConfigError([Problem("the trace is written in UTF-16", None, hint, str(path), 1)])
    return line.removeprefix(codecs.BOM_UTF8)


def gather(table: TraceTable, path: Path, lines: Iterator[tuple[int, str]]) -> Trace:
    first = list(islice(lines, RECOGNISED_WITHIN_LINES))
    if not first:
        raise ConfigError([Problem("the trace is empty", file=str(path))])
    name, told_by = format_of(table, path, first)
    log = FORMATS[name]()
    records: list[Record] = []
    strange: Counter[str | None] = Counter()
    read = 0
    trace = Trace()
    for number, line in chain(first, lines):
        if read == table.lines_max:
            trace.notices.append(f"{path}: only the first {read} lines are used (lines_max)")
            break
        read += 1
        try:
            if len(line) > LINE_BYTES_MAX:
                raise BrokenLine(f"the line is longer than {LINE_BYTES_MAX // 1024} KiB")
            records.append(log.parse(line.rstrip()))
        except BrokenLine as error:
            other = other_format(line, name)
            strange[other] += 1
            if table.skip_broken:
                continue
            if other is not None:
                raise mixed(path, number, other, name, told_by) from None
            raise ConfigError([broken_line(path, number, error, told_by)]) from None
    if strange:
        left_out = strange.total()
        notice = f"{path}: {left_out} of {read} lines could not be read and are left out"
        others = (f"{count} written as {NAMES[other]}" for other, count in strange.items() if other)
        trace.notices.append(", ".join([notice, *others]))
    served = [one for one in records if one.status <= SERVED_STATUS_MAX]
    trace.durations_s = [one.duration_s for one in served if one.duration_s is not None]
    without = len(served) - len(trace.durations_s)
    if trace.durations_s and without:
        trace.notices.append(f"{path}: {without} of {len(served)} answers that were served have no duration")
    trace.arrivals_s = arrivals(records, whole_seconds=log.whole_seconds)
    trace.read = TraceRead(file=str(path), format=name, told_by_line=told_by, lines=read)
    return trace


def format_of(table: TraceTable, path: Path, first: list[tuple[int, str]]) -> tuple[str, int | None]:
    """The format's name, and which line told it where the scenario does not say it."""
    if table.format != "auto":
        return table.format, None
    for number, line in first:
        if name := recognised(line):
            return name, number
    number, line = first[0]
    which = f"the first {len(first)} lines" if len(first) > 1 else "it"
    problem = f"this line is of no format that is known, and so is none of {which}: {shown(line)}"
    raise ConfigError([Problem(problem, None, expectations(FORMATS), str(path), number)])


def other_format(line: str, name: str) -> str | None:
    """The format that a line is written in which is no line of this one."""
    found = recognised(line)
    return None if found == name else found


def mixed(path: Path, number: int, other: str, name: str, told_by: int | None) -> ConfigError:
    why = "the scenario says" if told_by is None else f"line {told_by} is written in"
    problem = f"this line is written as {NAMES[other]}, but {why} {NAMES[name]}"
    return ConfigError([Problem(problem, None, expectations((name, other)), str(path), number)])


def broken_line(path: Path, number: int, error: BrokenLine, told_by: int | None) -> Problem:
    reason = error.reason
    if told_by is not None and told_by > number:
        reason = f"{reason}, which line {told_by} is written in"
    hint = error.hint or "skip_broken = true leaves such lines out"
    return Problem(reason, None, hint, str(path), number, error.column)


def expectations(names: Iterable[str]) -> str:
    """What a line of each of these formats looks like."""
    lines = (f'  format = "{name}", {NAMES[name]}: {EXAMPLES[name]}' for name in names)
    return "\n".join(["all lines of a trace are written in one format, such as", *lines])


def shown(line: str) -> str:
    """As much of a line as a message has room for."""
    text = line.strip()
    return f'"{text}"' if len(text) <= SHOWN_CHARACTERS_MAX else f'"{text[:SHOWN_CHARACTERS_MAX]}"...'


def arrivals(records: list[Record], *, whole_seconds: bool) -> list[float]:
    """When requests arrived, in order and from 0 on.

    Where the log knows only the second in which a request ended, those of one second are spread evenly over
    it: thousands of requests at one instant would be a burst that never was.
    """
    known = [one for one in records if one.time_s is not None]
    if whole_seconds:
        lines_in: dict[float, int] = {}
        for one in known:
            lines_in[one.time_s or 0.0] = lines_in.get(one.time_s or 0.0, 0) + 1
        seen: dict[float, int] = {}
        times = []
        for one in known:
            second = one.time_s or 0.0
            place = seen[second] = seen.get(second, 0) + 1
            times.append(second + (place - 0.5) / lines_in[second] - one.before_time_s)
    else:
        times = [(one.time_s or 0.0) - one.before_time_s for one in known]
    times.sort()
    return [time - times[0] for time in times]
