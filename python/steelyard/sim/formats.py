"""What one line of a log says: JSON lines, nginx's combined log with $request_time, HAProxy's httplog."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic_core import PydanticCustomError

from steelyard.config.base import nearest
from steelyard.errors import SteelyardError
from steelyard.sim.units import SECONDS_MAX, parse_seconds

__all__ = ["EXAMPLES", "FORMATS", "NAMES", "BrokenLine", "Record", "recognised"]

# A log in milliseconds writes 0 for what took less than one: half of one on average.
UNDER_A_MILLISECOND_S = 0.0005


class BrokenLine(SteelyardError):
    """A line that does not fit its format. `column` counts from 1."""

    def __init__(self, reason: str, *, hint: str | None = None, column: int | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.reason, self.column = reason, column


@dataclass(slots=True)
class Record:
    """One request."""

    time_s: float | None
    """When it was written down, in seconds since whenever."""
    duration_s: float | None
    """How long the endpoint took; None where no answer came, or the log does not say."""
    status: int = 200
    before_time_s: float = 0.0
    """How long before `time_s` it had arrived: logs that are written at the end say when that was."""


class Format(Protocol):
    """How a log is written."""

    whole_seconds: bool
    """Whether times are rounded to a second."""

    def parse(self, line: str) -> Record:
        """Raises BrokenLine."""


class JsonLines:
    """One object a line: `time` when the request arrived (RFC 3339, or seconds), `duration` in seconds."""

    whole_seconds = False

    def parse(self, line: str) -> Record:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise BrokenLine(f"no JSON: {error.msg.lower()}", column=error.colno) from None
        except RecursionError:
            raise BrokenLine("no JSON: nested too deep") from None
        if not isinstance(entry, dict):
            raise BrokenLine(
                "expected a JSON object", hint='{"time": "...", "duration": 0.012, "status": 200}'
            )
        if "time" not in entry and "duration" not in entry:
            near = ((key, nearest(key, entry)) for key in ("time", "duration"))
            hint = next((f'"{key}" is written "{found}" here' for key, found in near if found), None)
            raise BrokenLine('there is neither "time" nor "duration"', hint=hint)
        status = entry.get("status", 200)
        if isinstance(status, bool) or not isinstance(status, int):
            raise BrokenLine('"status" is no number')
        return Record(
            time_of(entry["time"]) if "time" in entry else None,
            duration_of(entry["duration"]) if "duration" in entry else None,
            status,
        )


# The year 5138, in seconds; who is beyond it has written milliseconds.
TIME_S_MAX = 1e11


def time_of(value: Any) -> float:
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise BrokenLine(f'"{value[:40]}" is no time', hint="such as 2026-01-31T12:00:00.123Z") from None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BrokenLine('"time" is no time', hint='such as "2026-01-31T12:00:00.123Z", or seconds')
    if abs(value) > TIME_S_MAX:
        raise BrokenLine('"time" is no time', hint="seconds since 1970, not milliseconds")
    return float(value)


def duration_of(value: Any) -> float:
    if isinstance(value, str):
        try:
            return parse_seconds(value, zero=True)
        except PydanticCustomError as error:
            raise BrokenLine(f'"duration": {error.message()}') from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BrokenLine('"duration" is no number of seconds')
    if value > SECONDS_MAX:
        raise BrokenLine('"duration" is longer than a year', hint="a number of seconds")
    return float(value)


QUOTED = r'"(?:[^"\\]|\\.)*"'
NGINX = re.compile(
    rf"\S+ \S+ .+? \[(?P<time>[^\]]+)\] {QUOTED} (?P<status>\d{{3}}) (?:\d+|-)"
    rf"(?: {QUOTED} {QUOTED})?(?P<rest> .*)?\s*"
)
# What may stand after the user agent: words and quoted texts, with or without a name.
FIELD = re.compile(rf"(?P<name>\w+=)?(?P<value>{QUOTED}(?= |$)|\S+)")
REQUEST_TIME_NAMES = ("rt=", "request_time=")
REQUEST_TIME = re.compile(r"\d{1,8}\.\d+")
CLF_TIME = re.compile(
    r"(?P<day>\d{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<h>\d{2}):(?P<m>\d{2}):(?P<s>\d{2})"
    r"(?P<fraction>\.\d+)?(?: (?P<sign>[+-])(?P<zone_h>\d{2})(?P<zone_m>\d{2}))?"
)


class Nginx:
    """`log_format x '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent
    "$http_referer" "$http_user_agent" $request_time';` - also with `rt=` before the time, and with $msec in
    the brackets, which is finer than a second."""

    def __init__(self) -> None:
        self.whole_seconds = True
        self._clock = cached(clf_seconds)

    def parse(self, line: str) -> Record:
        found = NGINX.fullmatch(line)
        if found is None:
            raise BrokenLine("this is no line of nginx's combined log")
        written = found["time"]
        if MSEC.fullmatch(written):
            self.whole_seconds = False
            time_s = float(written)
        else:
            time_s = self._clock(written)
        duration = request_time(line, found.start("rest")) if found["rest"] else None
        return Record(
            time_s, duration if duration != 0 else UNDER_A_MILLISECOND_S, int(found["status"]), duration or 0
        )


def request_time(line: str, start: int) -> float | None:
    """The field that is named so, else the last one; None where that is another quoted text, or "-"."""
    fields = list(FIELD.finditer(line, start))
    field = next((one for one in fields if one["name"] in REQUEST_TIME_NAMES), fields[-1])
    value = field["value"]
    inner = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if REQUEST_TIME.fullmatch(inner):
        return float(inner)
    if inner == "-" or (inner != value and field["name"] not in REQUEST_TIME_NAMES):
        # nginx writes "-" for what there is none of, and its own `main` ends with "$http_x_forwarded_for".
        return None
    raise BrokenLine(
        f'"{inner[:40]}" is no $request_time', hint="seconds, such as 0.012", column=field.start("value") + 1
    )


MSEC = re.compile(r"\d{9,11}\.\d+")
HAPROXY = re.compile(
    r"(?<!\S)\S+:\d+ \[(?P<time>[^\]]+)\] \S+ \S+/\S+ "
    r"(?P<request>-?\d+)/(?P<wait>-?\d+)/(?P<connect>-?\d+)/(?P<response>-?\d+)/(?P<whole>[+-]?\d+) "
    r"(?P<status>-1|\d{3}) \+?\d+ "
)
HAPROXY_TIMES = ("request", "wait", "connect", "response", "whole")


class HaProxy:
    """`option httplog`: the accept date and TR/Tw/Tc/Tr/Ta, with or without syslog's own words before it."""

    whole_seconds = False

    def __init__(self) -> None:
        self._clock = cached(clf_seconds)

    def parse(self, line: str) -> Record:
        found = HAPROXY.search(line)
        if found is None:
            raise BrokenLine("this is no line of HAProxy's httplog")
        for name in HAPROXY_TIMES:
            if found[name].startswith("-") and found[name] != "-1":
                hint = "HAProxy writes -1 for what was not reached"
                raise BrokenLine(f'"{found[name][:40]}" is no time', hint=hint, column=found.start(name) + 1)
        request, wait, connect, response = (int(found[name]) for name in HAPROXY_TIMES[:4])
        duration = None
        if min(request, wait, connect, response) >= 0:
            # With `option logasap` the whole time is not known yet, and the head of the response must do.
            whole = found["whole"]
            served = response if whole.startswith("+") else int(whole) - request - wait - connect
            duration = max(served, response) / 1000 or UNDER_A_MILLISECOND_S
        return Record(self._clock(found["time"]), duration, int(found["status"]))


def cached(parse: Callable[[str], float]) -> Callable[[str], float]:
    """The last text is often the next one as well."""
    last = ("", 0.0)

    def clock(text: str) -> float:
        nonlocal last
        if text != last[0]:
            last = (text, parse(text))
        return last[1]

    return clock


def clf_seconds(text: str) -> float:
    """`31/Jan/2026:12:00:00 +0000`; months are English whatever the locale."""
    found = CLF_TIME.fullmatch(text)
    if found is None or found["month"] not in ENGLISH_MONTHS:
        raise BrokenLine(f'"{text[:40]}" is no time', hint="such as 31/Jan/2026:12:00:00 +0000")
    try:
        at = datetime(
            int(found["year"]), ENGLISH_MONTHS[found["month"]], int(found["day"]),
            int(found["h"]), int(found["m"]), int(found["s"]), tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        raise BrokenLine(f'"{text[:40]}" is no time') from None
    zone_s = int(found["zone_h"] or 0) * 3600 + int(found["zone_m"] or 0) * 60
    return at.timestamp() + float(found["fraction"] or 0) - (-zone_s if found["sign"] == "-" else zone_s)


ENGLISH_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}

FORMATS: dict[str, Callable[[], Format]] = {"json": JsonLines, "nginx": Nginx, "haproxy": HaProxy}
NAMES = {"json": "JSON lines", "nginx": "nginx's combined log", "haproxy": "HAProxy's httplog"}
EXAMPLES = {
    "json": '{"time": "2026-01-31T12:00:00.123Z", "duration": 0.012, "status": 200}',
    "nginx": '10.0.0.9 - - [31/Jan/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8" 0.012',
    "haproxy": "10.0.0.9:33317 [31/Jan/2026:12:00:00.123] web app/s1 0/0/1/11/12 200 612 - - ---- 1/1/1/1/0 "
    '0/0 "GET / HTTP/1.1"',
}
"""A line as each format expects it."""


def recognised(line: str) -> str | None:
    """The format this line is written in."""
    if line.lstrip().startswith("{"):
        return "json"
    return "haproxy" if HAPROXY.search(line) else "nginx" if NGINX.fullmatch(line.rstrip()) else None
