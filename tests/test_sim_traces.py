"""Logs as traces: what is read from each format, and how a line that cannot be read is told."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from steelyard import sim
from steelyard.config.source import read_text
from steelyard.errors import ConfigError
from steelyard.sim.document import Prepared, prepare
from steelyard.sim.formats import EXAMPLES, FORMATS
from steelyard.sim.load import checked
from steelyard.sim.trace import LINE_BYTES_MAX, Trace, TraceTable, read_trace

JSON = [
    '{"time": "2026-01-31T12:00:00.500Z", "duration": 0.25, "endpoint": "a:80", "status": 200, "bytes": 10}',
    '{"time": "2026-01-31T12:00:00.000+00:00", "duration": "10ms"}',
    '{"time": 1769860801.5, "duration": 0.0005, "status": 503}',
]
NGINX = [
    '10.0.0.9 - - [31/Jan/2026:12:00:01 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8 \\"x\\"" 0.250',
    '10.0.0.9 - bob [31/Jan/2026:13:00:01 +0100] "GET /a b HTTP/1.1" 200 612 "-" "-" rt=0.000',
    '10.0.0.9 - - [31/Jan/2026:12:00:03 +0000] "GET / HTTP/1.1" 499 0 "-" "-" 1.000',
]
HAPROXY = [
    "10.0.1.2:33317 [31/Jan/2026:12:00:00.500] web app/s1 0/5/1/30/109 200 2750 - - ---- 1/1/1/1/0 0/0"
    ' "GET / HTTP/1.1"',
    "Jan 31 12:00:01 host haproxy[14389]: ::1:33317 [31/Jan/2026:12:00:00.250] web app/s1 0/0/0/-1/60 504 0"
    ' - - sH-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"',
]


SKIP = "hint: skip_broken = true leaves such lines out"


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "access.log"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(folder: Path, lines: list[str], **settings: object) -> Trace:
    path = written(folder, lines)
    return read_trace(TraceTable.model_validate({"file": path.name, **settings}), folder)


def told(folder: Path, lines: list[str], **settings: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, lines, **settings)
    return str(caught.value).replace(f"{folder}/", "")


def test_json_lines_say_when_requests_arrived_and_how_long_they_took(tmp_path: Path) -> None:
    trace = read(tmp_path, JSON)
    assert trace.arrivals_s == [0.0, 0.5, 1.5]
    # What failed is no service.
    assert trace.durations_s == [0.25, 0.01]
    assert trace.notices == []


def test_nginx_says_when_requests_ended_to_a_second(tmp_path: Path) -> None:
    trace = read(tmp_path, NGINX)
    # Two ended within second 1, at 1.25 and 1.75 when spread over it, and one at 3.5; each began before.
    ends_less_durations = sorted([1.25 - 0.25, 1.75 - 0.0005, 3.5 - 1.0])
    assert trace.arrivals_s == pytest.approx([one - 1.0 for one in ends_less_durations], abs=1e-3)
    assert trace.durations_s == [0.25, 0.0005]


def test_nginx_with_msec_is_finer(tmp_path: Path) -> None:
    lines = [
        f'::1 - - [{at}] "GET / HTTP/1.1" 200 1 "-" "-" 0.100' for at in ("1769860800.250", "1769860800.750")
    ]
    assert read(tmp_path, lines).arrivals_s == pytest.approx([0.0, 0.5])


def test_haproxy_says_what_the_server_took(tmp_path: Path) -> None:
    trace = read(tmp_path, HAPROXY)
    assert trace.arrivals_s == pytest.approx([0.0, 0.25])
    # The whole time less the wait for the request, for a slot and for the connection.
    assert trace.durations_s == [pytest.approx(0.103)]


@pytest.mark.parametrize(("name", "lines"), [("json", JSON), ("nginx", NGINX), ("haproxy", HAPROXY)])
def test_a_format_that_is_named_reads_the_same(name: str, lines: list[str], tmp_path: Path) -> None:
    named, told = (read(tmp_path, lines, **settings) for settings in ({"format": name}, {}))
    assert replace(named, read=None) == replace(told, read=None)
    assert named.read is not None
    assert told.read is not None
    assert (named.read.format, told.read.format) == (name, name)


def test_a_broken_line_is_refused_with_its_place(tmp_path: Path) -> None:
    assert told(tmp_path, [*JSON, "", '{"time": 1, "duration": 0.1']) == (
        f"access.log:5:28: no JSON: expecting ',' delimiter\n{SKIP}"
    )
    assert told(tmp_path, [*NGINX, "worker process 31 exited"]) == (
        f"access.log:4: this is no line of nginx's combined log\n{SKIP}"
    )
    assert told(tmp_path, [HAPROXY[0], "Proxy web started."]) == (
        f"access.log:2: this is no line of HAProxy's httplog\n{SKIP}"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"tiem": 1}', 'there is neither "time" nor "duration"\nhint: "time" is written "tiem" here'),
        ('{"time": "noon"}', '"noon" is no time\nhint: such as 2026-01-31T12:00:00.123Z'),
        ('{"time": true}', '"time" is no time\nhint: such as "2026-01-31T12:00:00.123Z", or seconds'),
        ('{"time": 1769860800500}', '"time" is no time\nhint: seconds since 1970, not milliseconds'),
        ('{"duration": 1e300}', '"duration" is longer than a year\nhint: a number of seconds'),
        ('{"duration": -1}', '"duration" is no number of seconds'),
        ('{"duration": NaN}', '"duration" is no number of seconds'),
        ('{"duration": "5 parsecs"}', '"duration": "parsecs" is no unit of time'),
        ('{"duration": 1, "status": "ok"}', '"status" is no number'),
        ("[1]", 'expected a JSON object\nhint: {"time": "...", "duration": 0.012, "status": 200}'),
        ("[" * 100_000, "the line is longer than 64 KiB"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_of_json(line: str, expected: str, tmp_path: Path) -> None:
    if "hint: " not in expected:
        expected += f"\n{SKIP}"
    assert told(tmp_path, [JSON[0], line]) == f"access.log:2: {expected}"


def test_impossible_dates_are_broken_lines(tmp_path: Path) -> None:
    line = NGINX[0].replace("31/Jan", "31/Feb")
    assert told(tmp_path, [NGINX[0], line]).startswith(
        'access.log:2: "31/Feb/2026:12:00:01 +0000" is no time'
    )
    assert "is no time" in told(tmp_path, [NGINX[0], NGINX[0].replace("Jan", "Mai")])


def test_broken_lines_are_left_out_and_counted_where_that_is_wanted(tmp_path: Path) -> None:
    trace = read(tmp_path, [JSON[0], "oops", JSON[1], "{}"], skip_broken=True)
    assert len(trace.arrivals_s) == 2
    assert trace.notices == [f"{tmp_path}/access.log: 2 of 4 lines could not be read and are left out"]


def test_a_log_of_another_kind_is_refused_with_its_first_line_and_what_each_format_expects(
    tmp_path: Path,
) -> None:
    assert told(tmp_path, ["", "time,duration", "1,2"]) == (
        "access.log:2: this line is of no format that is known, and so is none of the first 2 lines: "
        '"time,duration"\n'
        "hint: all lines of a trace are written in one format, such as\n"
        f'  format = "json", JSON lines: {EXAMPLES["json"]}\n'
        f"""  format = "nginx", nginx's combined log: {EXAMPLES["nginx"]}\n"""
        f"""  format = "haproxy", HAProxy's httplog: {EXAMPLES["haproxy"]}"""
    )
    assert f'"{"x" * 80}"...' in told(tmp_path, ["x" * 300])


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_said_of_a_format_is_a_line_of_it(name: str, tmp_path: Path) -> None:
    trace = read(tmp_path, [EXAMPLES[name]])
    assert trace.read == sim.TraceRead(file=f"{tmp_path}/access.log", format=name, told_by_line=1, lines=1)
    assert len(trace.arrivals_s) == len(trace.durations_s) == 1


def test_the_line_that_told_the_format_is_known(tmp_path: Path) -> None:
    told_by_third = read(tmp_path, ["", "started", NGINX[0], NGINX[1]], skip_broken=True).read
    assert told_by_third is not None
    assert (told_by_third.format, told_by_third.told_by_line, told_by_third.lines) == ("nginx", 3, 3)
    named = read(tmp_path, HAPROXY, format="haproxy").read
    assert named is not None
    assert named.told_by_line is None


def test_two_formats_in_one_file_are_refused_with_both_lines(tmp_path: Path) -> None:
    assert told(tmp_path, ["", *JSON, NGINX[0]]) == (
        "access.log:5: this line is written as nginx's combined log, but line 2 is written in JSON lines\n"
        "hint: all lines of a trace are written in one format, such as\n"
        f'  format = "json", JSON lines: {EXAMPLES["json"]}\n'
        f"""  format = "nginx", nginx's combined log: {EXAMPLES["nginx"]}"""
    )
    assert told(tmp_path, [*JSON, NGINX[0]], format="haproxy").startswith(
        "access.log:1: this line is written as JSON lines, but the scenario says HAProxy's httplog\nhint: "
    )


def test_what_is_left_out_is_told_by_format(tmp_path: Path) -> None:
    trace = read(tmp_path, [JSON[0], "oops", NGINX[0], NGINX[1], HAPROXY[0]], skip_broken=True)
    assert trace.notices == [
        f"{tmp_path}/access.log: 4 of 5 lines could not be read and are left out, "
        "2 written as nginx's combined log, 1 written as HAProxy's httplog"
    ]


def test_a_line_before_the_one_that_told_the_format_is_told_so(tmp_path: Path) -> None:
    assert told(tmp_path, ["started", *NGINX]) == (
        f"access.log:1: this is no line of nginx's combined log, which line 2 is written in\n{SKIP}"
    )


def test_an_empty_or_a_missing_log_is_refused(tmp_path: Path) -> None:
    assert told(tmp_path, ["", "  "]) == "access.log: the trace is empty"
    with pytest.raises(ConfigError, match=r"nowhere\.log: there is no such file"):
        read_trace(TraceTable(file="nowhere.log"), tmp_path)
    with pytest.raises(ConfigError, match="is a directory"):
        read_trace(TraceTable(file="."), tmp_path)


def test_no_more_lines_are_read_than_wanted(tmp_path: Path) -> None:
    trace = read(tmp_path, JSON * 10 + ["broken"], lines_max=6)
    assert len(trace.arrivals_s) == 6
    assert trace.notices == [f"{tmp_path}/access.log: only the first 6 lines are used (lines_max)"]


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(
        JSON[0].encode() + b"\n" + b"x" * (10 * LINE_BYTES_MAX) + b"\n" + JSON[1].encode() + b"\n"
    )
    trace = read_trace(TraceTable(file="access.log", skip_broken=True), tmp_path)
    assert len(trace.arrivals_s) == 2


SCENARIO = """\
policies = ["random"]
endpoints = [{ count = 4 }]
arrivals = { kind = "trace", file = "access.log", speed = 2.0 }
service = { kind = "trace", file = "access.log" }
"""


def prepared(folder: Path, text: str = SCENARIO) -> Prepared:
    source = read_text(text, "s.toml")
    return prepare(checked(source), source, folder)


def test_a_trace_is_played_as_fast_as_wanted_and_once(tmp_path: Path) -> None:
    written(tmp_path, JSON)
    document = prepared(tmp_path).document
    assert document["arrivals"] == {"kind": "trace", "times_s": [0.0, 0.25, 0.75]}
    assert document["service"] == {"kind": "trace", "samples_s": [0.25, 0.01]}
    assert document["requests"] == 3


def test_a_trace_that_does_not_say_what_is_needed_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [line.rpartition(" ")[0] for line in NGINX])
    with pytest.raises(ConfigError) as caught:
        prepared(tmp_path)
    assert str(caught.value) == (
        "s.toml:4:29: service.file: no line of the trace says how long a request took\n"
        'hint: JSON lines need "duration"; nginx writes it with $request_time at the end of its log_format'
    )


@pytest.mark.parametrize(
    ("lines", "key", "message"),
    [
        (['{"duration": 1}'] * 2, "arrivals", "no line of the trace says when a request arrived"),
        (['{"time": 5, "duration": 1}'], "arrivals", "the trace has only one request"),
        (['{"time": 5, "duration": 1}'] * 2, "arrivals", "all requests of the trace arrived at one moment"),
        (
            ['{"time": 0, "duration": 1}', '{"time": 5e9, "duration": 1}'],
            "arrivals",
            "the trace is 159 years long",
        ),
        (
            ['{"time": 5, "duration": 0}', '{"time": 6, "duration": 0}'],
            "service",
            "every request of the trace took no time at all",
        ),
    ],
)
def test_why_a_trace_does_not_do_is_told(lines: list[str], key: str, message: str, tmp_path: Path) -> None:
    written(tmp_path, lines)
    with pytest.raises(ConfigError) as caught:
        prepared(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.key, problem.message) == (f"{key}.file", message)
    assert problem.hint is not None


def test_a_log_for_both_tables_is_read_once_and_may_be_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "access.log")
    text = "".join(f"{line}\n" for line in JSON)
    writer = threading.Thread(target=(tmp_path / "access.log").write_text, args=(text,))
    writer.start()
    document = prepared(tmp_path).document
    writer.join()
    assert (document["requests"], document["service"]["samples_s"]) == (3, [0.25, 0.01])


def test_a_device_is_no_trace(tmp_path: Path) -> None:
    # It would never end.
    with pytest.raises(ConfigError, match=r"\A/dev/zero: this is no file\Z"):
        read_trace(TraceTable(file="/dev/zero"), tmp_path)


def test_a_broken_trace_is_told_once_for_both_tables(tmp_path: Path) -> None:
    written(tmp_path, [JSON[0], "oops"])
    with pytest.raises(ConfigError) as caught:
        prepared(tmp_path)
    assert len(caught.value.problems) == 1


def test_a_trace_beside_a_scenario_is_found_from_anywhere(tmp_path: Path) -> None:
    written(tmp_path, [json.dumps({"time": n / 10, "duration": 0.1}) for n in range(300)])
    (tmp_path / "s.toml").write_text("replications = 2\nwarmup = 0.0\n" + SCENARIO, encoding="utf-8")
    result = sim.simulate(tmp_path / "s.toml")
    assert result.policies[0].requests == 600
    # Both tables read it, and it is told once.
    assert result.as_json()["traces"] == [
        {"file": f"{tmp_path}/access.log", "format": "json", "told_by_line": 1, "lines": 300}
    ]


@pytest.mark.parametrize("lines", [JSON, NGINX, HAPROXY], ids=["json", "nginx", "haproxy"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, lines: list[str]) -> None:
    plain = read(tmp_path, lines)
    assert read(tmp_path, ["\ufeff" + lines[0], *lines[1:]]) == plain


def test_a_trace_in_utf_16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("\n".join(JSON), encoding="utf-16")
    with pytest.raises(ConfigError, match=r"access.log:1: the trace is written in UTF-16\nhint: .*iconv"):
        read_trace(TraceTable(file=path.name), tmp_path)


PLAIN = '10.0.0.9 - - [31/Jan/2026:12:00:01 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8"'


@pytest.mark.parametrize("text", ["broken", "-0.5", "nan", "1,234", "0.2.3", "rt=x", 'rt="x" 0.250', "612"])
def test_what_stands_after_the_user_agent_is_a_duration_or_the_line_is_broken(
    tmp_path: Path, text: str
) -> None:
    value = text.removeprefix("rt=").split()[0]
    column = len(PLAIN) + 2 + (3 if text.startswith("rt=") else 0)
    assert told(tmp_path, [NGINX[0], f"{PLAIN} {text}"]) == (
        f'access.log:2:{column}: "{value.strip(chr(34))}" is no $request_time\nhint: seconds, such as 0.012'
    )


@pytest.mark.parametrize(
    "text", ["0.123 0.456", "0.456", '"0.456"', 'rt=0.456 urt="0.123"', '"10.0.0.1, 10.0.0.2" 0.456']
)
def test_the_duration_of_nginx_is_the_last_field_or_the_named_one(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, [f"{PLAIN} {text}"]).durations_s == [0.456]


@pytest.mark.parametrize("text", ["", " -", ' "-"', ' "10.0.0.1, 10.0.0.2"', ' "0.5 of rt=1.0"'])
def test_a_line_without_a_duration_is_counted_where_others_have_one(tmp_path: Path, text: str) -> None:
    trace = read(tmp_path, [f"{PLAIN}{text}", f"{PLAIN} 0.456", f"{PLAIN}{text}"])
    assert trace.durations_s == [0.456]
    [notice] = trace.notices
    assert notice.endswith("access.log: 2 of 3 answers that were served have no duration")
    assert not read(tmp_path, [f"{PLAIN}{text}"]).notices


@pytest.mark.parametrize(
    ("times", "value"), [("10/0/0/-36/40", "-36"), ("-2/0/0/1/1", "-2"), ("1/0/0/1/-5", "-5")]
)
def test_haproxy_writes_minus_one_and_no_other_negative_time(tmp_path: Path, times: str, value: str) -> None:
    line = HAPROXY[0].replace("0/5/1/30/109", times)
    assert told(tmp_path, [HAPROXY[1], line]) == (
        f'access.log:2:{line.index(times) + times.index(value) + 1}: "{value}" is no time\n'
        "hint: HAProxy writes -1 for what was not reached"
    )
