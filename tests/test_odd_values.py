"""Whatever stands at a key of the configuration, it is accepted or refused, and nothing else happens."""

import math
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from steelyard import config
from steelyard.config.show import value_of
from steelyard.errors import ConfigError, Problem

EVERYTHING = """\
workers = 3
drain_timeout = "1500ms"
admin.socket = "off"
log = { level = "debug", format = "json" }
[listeners.web]
bind = ["127.0.0.1:8080", "unix:/run/web.sock"]
protocol = "http"
pool = "app"
proxy_protocol = false
trusted_proxies = ["10.0.0.0/8"]
allow_encoded_slash = true
limits = { connections = 10, header_bytes = "16k", header_count = 50, target_bytes = "4k" }
timeouts = { request_header = "off", request_body = "5s", idle = "1m" }
[[routes]]
listener = "web"
host = "*.example.com"
path = "/v1/"
headers = { X-Canary = "1" }
split = { app = 95 }
strip_prefix = true
set_headers = { X-From = "steelyard" }
remove_headers = ["x-secret"]
[[routes]]
path = "=/old"
redirect = "https://example.com/new"
[[routes]]
path = "~^/no"
respond = 404
[pools.app]
policy = { name = "weighted" }
endpoints = ["10.0.0.1:80", { address = "10.0.0.2:80", weight = 3, zone = "", priority = 0 }]
load = "requests"
protocol = "http1"
fail_open = false
threshold = { requests = 5, latency = "500ms", bytes_per_second = "50M" }
queue = { size = "off", timeout = "off" }
connections = { idle_timeout = "off", idle_max = 2, max = 20 }
timeouts = { connect = "1s", response = "off", idle = "2s", tunnel = "off", total = "9s" }
retry = { attempts = 3, on = ["connect", "5xx"], body_bytes_max = "1k", budget = "off" }
[pools.app.health]
path = "/h"
host = "app"
interval = "off"
timeout = "1s"
rise = 1
fall = 2
expect_status = ["200", "204-210", 301]
"""
LONG = tomllib.loads(EVERYTHING)
SHORT = {"listen": ":8080", "endpoints": ["10.0.0.1:80"], "health": "/healthz", "policy": "random"}
# The short form beside the long one is printed as the long one.
MIXED = {**SHORT, **LONG}

Path = tuple[str | int, ...]

ODD: list[Any] = [
    date(1979, 5, 27),
    time(7, 32),
    datetime(1979, 5, 27, 7, 32, tzinfo=UTC),
    True,
    0,
    -1,
    2**63 - 1,
    1e308,
    math.nan,
    math.inf,
    "",
    "\0",
    "9" * 5_000 + "s",
    "0." + "0" * 4_000 + "1s",
    "9" * 5_000 + "G",
    [],
    {},
    [[]],
    {"": {}},
]
ODD += [[one] for one in ODD] + [{"a": one} for one in ODD[:3]]


def places(data: Any, path: Path = ()) -> Iterator[Path]:
    steps: list[str | int] = []
    if isinstance(data, dict):
        steps = list(data)
    elif isinstance(data, list):
        steps = list(range(len(data)))
    for step in steps:
        yield (*path, step)
        yield from places(data[step], (*path, step))


def replaced(data: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    step, *rest = path
    items = data.items() if isinstance(data, dict) else enumerate(data)
    made = {key: replaced(old, tuple(rest), value) if key == step else old for key, old in items}
    return made if isinstance(data, dict) else list(made.values())


def problems(text: str, what: str) -> tuple[Problem, ...]:
    try:
        config.load_text(text, "f.toml")
    except ConfigError as error:
        return error.problems
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {str(error)[:300]}")
    return ()


@pytest.mark.parametrize("form", [SHORT, LONG, MIXED], ids=["short", "long", "mixed"])
def test_any_value_at_any_key_is_accepted_or_refused(form: dict[str, Any]) -> None:
    for path in places(form):
        for value in ODD:
            data = replaced(form, path, value)
            text = "\n".join(f"{key} = {value_of(item)}" for key, item in data.items())
            for problem in problems(text, f"{path} = {str(value)[:60]}"):
                assert problem.line or "there is no listener" in problem.message, problem


@pytest.mark.parametrize("unit", ["", "s", "d", "G"])
@pytest.mark.parametrize("key", ["timeouts.total", "threshold.latency", "threshold.bytes_per_second"])
def test_a_number_too_long_for_any_arithmetic_is_refused(key: str, unit: str) -> None:
    long = "9" * 1_000_001 + unit
    text = f'listeners.web.bind = [":80"]\n[pools.app]\nendpoints = ["a:1"]\n{key} = "{long}"\n'
    with pytest.raises(ConfigError) as caught:
        config.load_text(text, "f.toml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (4, "a number of 1000001 characters is out of range")
