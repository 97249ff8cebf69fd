"""Traces: real requests, read from a log. What a log line says is in `formats.py`."""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import BeforeValidator, Field

from steelyard.config.base import Model, one_of
from steelyard.config.units import count, refuse
from steelyard.errors import ConfigError, Problem
from steelyard.sim.formats import FORMATS, BrokenLine, Format, Record, recognised

__all__ = ["Trace", "TraceTable", "read_trace"]

TRACE_LINES_MAX = 2_000_000
LINE_BYTES_MAX = 64 * 1024
# How far into the file its format is looked for.
RECOGNISED_WITHIN_LINES = 50
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


def read_trace(table: TraceTable, folder: Path) -> Trace:
    """Reads the file. Raises ConfigError with the place of a line that cannot be read."""
    path = folder / table.file
    try:
        with path.open("rb") as file:
            skip_mark(file, path)
            numbered = enumerate(bounded_lines(file.readline), 1)
            return gather(table, path, ((number, line) for number, line in numbered if line.strip()))
    except FileNotFoundError:
        raise ConfigError([Problem("there is no such file", file=str(path))]) from None
    except OSError as error:
        raise ConfigError([Problem((error.strerror or str(error)).lower(), file=str(path))]) from None


def skip_mark(file: BinaryIO, path: Path) -> None:
    """Goes beyond the byte order mark that some editors and shells put before UTF-8; UTF-16 is refused."""
    start = file.read(len(codecs.BOM_UTF8))
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        hint = "write it anew in UTF-8, for instance with iconv -f UTF-16 -t UTF-8"
        raise ConfigError([Problem("the trace is written in UTF-16", None, hint, str(path), 1)])
    if start != codecs.BOM_UTF8:
        file.seek(0)


def bounded_lines(readline: Callable[[int], bytes]) -> Iterator[str]:
    """Each line; of one that is too long only as much as shows that it is."""
    while line := readline(LINE_BYTES_MAX + 1):
        yield line.decode("utf-8", "replace")
        while line and not line.endswith(b"\n"):
            line = readline(LINE_BYTES_MAX)


def gather(table: TraceTable, path: Path, lines: Iterator[tuple[int, str]]) -> Trace:
    first = list(islice(lines, RECOGNISED_WITHIN_LINES))
    if not first:
        raise ConfigError([Problem("the trace is empty", file=str(path))])
    log = format_of(table, path, [line for _, line in first])
    records: list[Record] = []
    broken = read = 0
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
            broken += 1
            if not table.skip_broken:
                hint = error.hint or "skip_broken = true leaves such lines out"
                raise ConfigError(
                    [Problem(error.reason, None, hint, str(path), number, error.column)]
                ) from None
    if broken:
        trace.notices.append(f"{path}: {broken} of {read} lines could not be read and are left out")
    trace.arrivals_s = arrivals(records, whole_seconds=log.whole_seconds)
    trace.durations_s = [
        one.duration_s for one in records if one.duration_s is not None and one.status <= SERVED_STATUS_MAX
    ]
    return trace


def format_of(table: TraceTable, path: Path, first: list[str]) -> Format:
    if table.format != "auto":
        return FORMATS[table.format]()
    found = next((name for line in first if (name := recognised(line))), None)
    if found is None:
        hint = 'write format = "json", "nginx" or "haproxy" to see what is wrong with its lines'
        raise ConfigError([Problem("this is no log whose format is known", None, hint, str(path), 1)])
    return FORMATS[found]()


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
