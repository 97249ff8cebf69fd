"""A sound configuration becomes the document that the engine reads, every default filled in."""

import json
import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard import _core, config
from steelyard.config.root import ConfigFile
from steelyard.config.units import duration_text, parse_duration, parse_size, size_text

SHORT = 'listen = ":8080"\nendpoints = ["10.0.0.1:80", "10.0.0.2:80"]\nhealth = "/healthz"\n'
EVERYTHING = """\
workers = 3
zone = "a"
drain_timeout = "1500ms"
[admin]
socket = "off"
[log]
level = "debug"
format = "json"
[listeners.web]
bind = ["127.0.0.1:8080", "unix:/run/web.sock"]
pool = "app"
trusted_proxies = ["10.0.0.0/8"]
allow_encoded_slash = true
limits = { connections = 10, header_bytes = "16k", header_count = 50, target_bytes = "4k", streams = 64, resets = 50, control_frames = 500 }
timeouts = { handshake = "2s", request_header = "off", request_body = "5s", idle = "1m" }
[[routes]]
listener = "web"
host = "*.example.com"
path = "/v1/"
headers = { X-Canary = "1" }
split = { app = 95, next = 5 }
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
endpoints = ["10.0.0.1:80", { address = "10.0.0.2:80", weight = 3, priority = 1, zone = "a" }]
fail_open = false
panic_threshold = 40
slow_start = { window = "30s", aggression = 2, min_weight = 0.2 }
subset = { size = 20, instance = 3, instances = 12 }
threshold = { requests = 5, latency = "500ms", bytes_per_second = "50M" }
queue = { size = "off", timeout = "off" }
connections = { idle_timeout = "off", idle_max = 2, max = 20 }
timeouts = { connect = "1s", response = "off", idle = "2s", tunnel = "off", total = "9s" }
retry = { attempts = 3, on = ["connect", "5xx", "timeout"], body_bytes_max = "1k", budget = "off" }
health = { path = "/h", port = 81, host = "app", interval = "off", timeout = "1s", rise = 1, fall = 2, expect_status = ["200", "204-210", 301] }
[pools.next]
endpoints = ["[::1]:80"]
"""  # noqa: E501 - an inline table stands on one line


def document(text: str) -> dict[str, Any]:
    return config.document(config.load_text(text))


def written(policy: dict[str, Any]) -> dict[str, Any]:
    """What of a policy was given."""
    return {key: value for key, value in policy.items() if value is not None}


def test_a_policy_of_the_command_line_has_settings() -> None:
    written = 'ring_hash:key="query:a,b",ring_size=5_000'
    loaded = config.from_arguments(listen=[":0"], to=["127.0.0.1:9"], policy=written, health=None)
    policy = loaded.pools["app"].policy
    assert (policy.name, policy.key, policy.ring_size) == ("ring_hash", "query:a,b", 5_000)


def test_prequal_has_settings_of_its_own() -> None:
    policy = """{ name = "prequal", probe_path = "/load", probe_timeout = "20ms", probes_per_request = 2,
        probe_rate_max = 200, probes_in_flight_max = 8, q_rif = 0.6 }""".replace("\n", "")
    (pool,) = document(f'listen = ":8080"\nendpoints = ["10.0.0.1:80"]\npolicy = {policy}\n')["pools"]
    assert written(pool["policy"]) == {
        "name": "prequal",
        "probe_path": "/load",
        "probe_timeout_ms": 20,
        "probes_per_request": 2.0,
        "probe_rate_max": 200,
        "probes_in_flight_max": 8,
        "q_rif": 0.6,
    }


def test_three_lines_are_a_whole_configuration() -> None:
    made = document(SHORT)
    (listener,), (pool,) = made["listeners"], made["pools"]
    assert (listener["name"], listener["bind"], listener["pool"]) == ("web", [":8080"], "app")
    assert (pool["name"], written(pool["policy"])) == ("app", {"name": "least_request"})
    assert [one["address"] for one in pool["endpoints"]] == ["10.0.0.1:80", "10.0.0.2:80"]
    assert pool["health"]["path"] == "/healthz"


def test_every_default_is_that_of_the_manual() -> None:
    made = document(SHORT)
    (listener,), (pool,) = made["listeners"], made["pools"]
    assert (made["workers"], made["drain_timeout_ms"]) == (None, 25_000)
    assert listener["limits"] == {
        "connections": None,
        "header_bytes_max": 65_536,
        "header_count_max": 100,
        "target_bytes_max": 8192,
        "streams_max": 128,
        "resets_max": 200,
        "control_frames_max": 1000,
    }
    assert listener["timeouts"] == {
        "handshake_ms": 10_000,
        "request_header_ms": 10_000,
        "request_body_ms": 30_000,
        "idle_ms": 60_000,
    }
    assert (listener["tls"], listener["redirect_https"], pool["tls"]) == (None, None, None)
    assert pool["threshold"] == {"requests": None, "latency_ms": None, "bytes_per_second": None}
    assert pool["queue"] == {"size": 1024, "timeout_ms": 5000}
    assert pool["health"] == {
        "path": "/healthz",
        "udp": None,
        "port": None,
        "grpc": None,
        "host": None,
        "interval_ms": 5000,
        "timeout_ms": 2000,
        "rise": 2,
        "fall": 3,
        "expect_status": [[200, 399]],
    }
    assert [pool[key] for key in ("slow_start", "panic_threshold", "subset")] == [None, None, None]
    assert pool["connections"] == {"idle_timeout_ms": 4000, "idle_max": 64, "max": None}
    assert pool["timeouts"] == {
        "connect_ms": 2000,
        "response_ms": 30_000,
        "idle_ms": 60_000,
        "tunnel_ms": 3_600_000,
        "total_ms": None,
    }
    assert pool["retry"] == {
        "attempts": 2,
        "on": ["connect", "reset-before-response"],
        "body_bytes_max": 65_536,
        "budget": 0.2,
    }


TLS = """
[listeners.web]
bind = [":8443"]
[listeners.web.tls]
certificates = [{ cert = "site.pem", key = "keys/site.key" }]
%s
[listeners.plain]
bind = [":8080"]
redirect_https = %s
[pools.app]
endpoints = ["10.0.0.1:80"]
tls = %s
"""


def tls_document(
    folder: Path, more: str = "", redirect: str = "true", pool: str = "true"
) -> tuple[Any, Any, Any]:
    """TLS in front, the redirect, and TLS behind."""
    # Only what is written is looked at here, not the files.
    file = ConfigFile.model_validate(tomllib.loads(TLS % (more, redirect, pool)), context={"folder": folder})
    made = config.document(file.expanded())
    web, plain = made["listeners"]
    return web["tls"], plain["redirect_https"], made["pools"][0]["tls"]


def test_every_default_of_tls_is_that_of_the_manual(tmp_path: Path) -> None:
    front, redirect, behind = tls_document(tmp_path)
    assert front == {
        "certificates": [{"cert": f"{tmp_path}/site.pem", "key": f"{tmp_path}/keys/site.key"}],
        "alpn": ["h2", "http/1.1"],
        "min_version": "1.2",
        "client_ca": None,
        "client_auth": None,
        "tickets": True,
        "session_cache": 1024,
        "hsts": None,
    }
    assert redirect == 443
    nothing = {"ca": None, "server_name": None, "cert": None, "key": None}
    assert behind == {"verify": True, "min_version": "1.2", **nothing}


def test_every_key_of_tls_arrives_in_the_document(tmp_path: Path) -> None:
    more = """alpn = []
min_version = "1.3"
client_ca = "/ca.pem"
client_auth = "optional"
tickets = false
session_cache = "off"
hsts = { max_age = "30d", include_subdomains = true, preload = true }"""
    pool = '{ verify = false, ca = "a", server_name = "b", cert = "c", key = "d", min_version = "1.3" }'
    front, redirect, behind = tls_document(tmp_path, more, "8443", pool)
    month = {"max_age_ms": 30 * 86_400_000, "include_subdomains": True, "preload": True}
    assert list(front.values())[1:] == [[], "1.3", "/ca.pem", "optional", False, None, month]
    assert redirect == 8443
    files = [f"{tmp_path}/{name}" for name in "acd"]
    assert list(behind.values()) == [False, files[0], "b", *files[1:], "1.3"]


@pytest.mark.parametrize(
    ("written", "milliseconds"), [("true", 730 * 86_400_000), ('"1d"', 86_400_000), ("false", None)]
)
def test_hsts_is_one_word(written: str, milliseconds: int | None, tmp_path: Path) -> None:
    hsts = tls_document(tmp_path, f"hsts = {written}")[0]["hsts"]
    assert (hsts and hsts["max_age_ms"]) == milliseconds


def test_every_key_arrives_in_the_document() -> None:
    made = document(EVERYTHING)
    web, (first, second, third), app = made["listeners"][0], made["routes"], made["pools"][0]
    assert (made["workers"], made["drain_timeout_ms"]) == (3, 1500)
    assert web["bind"] == ["127.0.0.1:8080", "unix:/run/web.sock"]
    assert web["trusted_proxies"] == ["10.0.0.0/8"]
    assert web["allow_encoded_slash"] is True
    assert list(web["limits"].values()) == [10, 16_384, 50, 4096, 64, 50, 500]
    assert list(web["timeouts"].values()) == [2000, None, 5000, 60_000]
    assert first == {
        "listener": "web",
        "host": "*.example.com",
        "path": "/v1/",
        "headers": {"x-canary": "1"},
        "action": {"split": [["app", 95], ["next", 5]]},
        "strip_prefix": True,
        "set_headers": {"X-From": "steelyard"},
        "remove_headers": ["x-secret"],
    }
    assert second["action"] == {"redirect": "https://example.com/new"}
    assert third["action"] == {"respond": 404}
    assert written(app["policy"]) == {"name": "weighted"}
    assert app["load"] == "requests"
    assert app["endpoints"][1] == {
        "address": "10.0.0.2:80",
        "weight": 3,
        "drain": False,
        "priority": 1,
        "zone": "a",
    }
    assert (made["zone"], app["fail_open"], app["panic_threshold"]) == ("a", False, 40)
    assert app["slow_start"] == {"window_ms": 30_000, "aggression": 2.0, "min_weight": 0.2}
    assert app["subset"] == {"size": 20, "instance": 3, "instances": 12}
    assert list(app["threshold"].values()) == [5, 500, 50 * 2**20]
    assert list(app["queue"].values()) == [None, None]
    assert list(app["connections"].values()) == [None, 2, 20]
    assert list(app["timeouts"].values()) == [1000, None, 2000, None, 9000]
    assert list(app["retry"].values()) == [3, ["connect", "5xx", "timeout"], 1024, None]
    assert list(app["health"].values()) == [
        "/h",
        None,
        81,
        None,
        "app",
        None,
        1000,
        1,
        2,
        [[200, 200], [204, 210], [301, 301]],
    ]


@pytest.mark.parametrize("text", [SHORT, EVERYTHING])
def test_what_show_prints_means_the_same(text: str) -> None:
    loaded = config.load_text(text)
    assert config.load_text(config.show(loaded)) == loaded


@pytest.mark.parametrize("text", [SHORT, EVERYTHING])
def test_the_engine_reads_the_document(text: str) -> None:
    assert json.loads(_core.check(json.dumps(document(text)))) == []


POOL = 'listeners.web = { bind = [":8080"], pool = "app" }\n[pools.app]\nendpoints = ["10.0.0.1:80"]\n'
REPORTED = {
    '"weight"': {"as": "weight"},
    '{ as = "weight", blackout = "off", expiration = "1m", error_penalty = 2, header = "X", pass = true }': {
        "as": "weight",
        "blackout_ms": 0,
        "expiration_ms": 60_000,
        "error_penalty": 2.0,
        "field": "x",
        "pass": True,
    },
    '{ as = "weight", blackout = "1s", metric = "named_metrics.kv" }': {
        "as": "weight",
        "blackout_ms": 1_000,
        "metric": "named_metrics.kv",
    },
}


@pytest.mark.parametrize("written", REPORTED)
def test_reported_is_a_word_or_a_table(written: str) -> None:
    loaded = config.load_text(f"{POOL}reported = {written}\n")
    (pool,) = config.document(loaded)["pools"]
    said = {key: value for key, value in pool["reported"].items() if value is not None and value is not False}
    assert said == REPORTED[written]
    assert config.document(config.load_text(config.show(loaded))) == config.document(loaded)


@pytest.mark.parametrize("written", ['reported = "load"', 'load = "reported"', 'reported = { as = "load" }'])
def test_what_is_reported_as_a_load_is_the_load(written: str) -> None:
    loaded = config.load_text(f'{POOL}policy = "least_load"\n{written}\n')
    (pool,) = config.document(loaded)["pools"]
    assert (pool["load"], pool["reported"]["as"]) == ("reported", "load")
    assert config.document(config.load_text(config.show(loaded))) == config.document(loaded)


@pytest.mark.parametrize(
    ("written", "percent"), [("", 50), ("panic_threshold = 30", 30), ('panic_threshold = "off"', None)]
)
def test_a_pool_with_several_levels_may_panic(written: str, percent: int | None) -> None:
    text = 'listeners.web = { bind = [":8080"], pool = "app" }\n[pools.app]\n'
    text += f'endpoints = ["10.0.0.1:80", {{ address = "10.0.0.2:80", priority = 1 }}]\n{written}\n'
    assert document(text)["pools"][0]["panic_threshold"] == percent


@pytest.mark.parametrize("written", ['"30s"', '"off"', '{ window = "1m", aggression = 2.0 }'])
def test_slow_start_is_a_duration_or_a_table(written: str) -> None:
    text = 'listeners.web = { bind = [":8080"], pool = "app" }\n[pools.app]\nendpoints = ["10.0.0.1:80"]\n'
    loaded = config.load_text(f"{text}slow_start = {written}\n")
    assert config.load_text(config.show(loaded)) == loaded
    assert "slow_start" in config.show(loaded)


@pytest.mark.parametrize(
    ("health", "timeout_ms"),
    [
        ('interval = "1s"', 1_000),
        ('interval = "2s"', 2_000),
        ('interval = "1m"', 2_000),
        ('interval = "off"', 2_000),
        ('interval = "1s"\ntimeout = "100ms"', 100),
    ],
)
def test_a_probe_without_a_time_of_its_own_ends_before_the_next(health: str, timeout_ms: int) -> None:
    text = 'listeners.web = { bind = [":8080"], pool = "app" }\n[pools.app]\nendpoints = ["10.0.0.1:80"]\n'
    (pool,) = document(f"{text}[pools.app.health]\n{health}\n")["pools"]
    assert pool["health"]["timeout_ms"] == timeout_ms


def test_health_off_in_the_short_form_is_no_probe() -> None:
    (pool,) = document(SHORT.replace("/healthz", "off"))["pools"]
    assert (pool["health"]["path"], pool["health"]["interval_ms"]) == (None, None)


def test_a_byte_order_mark_does_no_harm(tmp_path: Any) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORT.encode())
    assert list(config.load(path).pools) == ["app"]


def test_the_overlay_lies_over_the_file_and_nowhere_else() -> None:
    loaded = config.load_text(EVERYTHING)
    overlay = config.Overlay().drain(("app", "10.0.0.1:80")).weight(("app", "10.0.0.2:80"), 0)
    made = config.document(loaded, overlay.policy("app", "random"))
    assert made["pools"][0]["endpoints"] == [
        {"address": "10.0.0.1:80", "weight": 1, "drain": True, "priority": 0, "zone": None},
        {"address": "10.0.0.2:80", "weight": 0, "drain": False, "priority": 1, "zone": "a"},
    ]
    assert made["pools"][0]["policy"] == {"name": "random"}
    assert made["pools"][1] == document(EVERYTHING)["pools"][1]
    undone = overlay.undrain(("app", "10.0.0.1:80")).weight(("app", "10.0.0.2:80"), None)
    assert config.document(loaded, undone) == document(EVERYTHING)


def test_the_overlay_keeps_what_has_left_the_file_and_says_so() -> None:
    overlay = (
        config.Overlay()
        .drain(("app", "10.0.0.1:80"))
        .weight(("app", "10.0.0.9:80"), 3)
        .policy("gone", "random")
    )
    assert overlay.as_json(config.load_text(EVERYTHING)) == {
        "drained": [{"pool": "app", "address": "10.0.0.1:80", "waiting": False}],
        "weights": [{"pool": "app", "address": "10.0.0.9:80", "weight": 3, "waiting": True}],
        "policies": [{"pool": "gone", "policy": "random", "waiting": True}],
    }


@given(st.integers(1, 365 * 24 * 3_600_000))
def test_durations_are_read_back_as_they_are_written(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds), off=True) == milliseconds


@given(st.integers(1, 2**50))
def test_sizes_are_read_back_as_they_are_written(size: int) -> None:
    assert parse_size(size_text(size), off=True, most=2**50) == size


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [("1ms", 1), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000), ("off", None)],
)
def test_durations_have_units(written: str, milliseconds: int | None) -> None:
    assert parse_duration(written, off=True) == milliseconds


@pytest.mark.parametrize(
    ("written", "size"), [(7, 7), ("7", 7), ("2k", 2048), ("1.5M", 1_572_864), ("1G", 2**30)]
)
def test_sizes_have_units(written: int | str, size: int) -> None:
    assert parse_size(written, off=False, most=2**50) == size


NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8)


HASHING = {"ring_hash", "maglev", "rendezvous", "bounded_hash"}
WRITTEN_POLICIES = [
    f'{{ name = "{name}", key = "path" }}' if name in HASHING else f'"{name}"'
    for name in config.POLICIES
    if name != "sticky"  # which needs a file
]


@given(
    st.dictionaries(NAMES, st.integers(0, 9), min_size=1, max_size=4),
    st.sampled_from(WRITTEN_POLICIES),
    st.sampled_from(["off", "1s", "250ms"]),
)
def test_any_pools_survive_show(pools: dict[str, int], policy: str, total: str) -> None:
    text = 'listeners.web.bind = [":8080"]\n' + "".join(
        f'[pools.{name}]\npolicy = {policy}\ntimeouts.total = "{total}"\n'
        f'endpoints = [{{ address = "{name}:80", weight = {weight} }}]\n'
        for name, weight in pools.items()
    )
    loaded = config.load_text(text)
    assert config.load_text(config.show(loaded)) == loaded


@pytest.mark.parametrize(
    ("policy", "arrives"),
    [
        ('{ name = "ring_hash", key = "header:X-User", ring_size = 4096 }', {"ring_size": 4096}),
        ('{ name = "maglev", key = "header:X-User", table_size = 251 }', {"table_size": 251}),
        ('{ name = "rendezvous", key = "header:X-User" }', {}),
        ('{ name = "bounded_hash", key = "header:X-User", balance = 1.5 }', {"balance": 1.5}),
    ],
)
def test_a_policy_that_hashes_keeps_its_settings_in_the_document_and_when_shown(
    policy: str, arrives: dict[str, Any]
) -> None:
    loaded = config.load_text(SHORT + f"policy = {policy}\n")
    (pool,) = config.document(loaded)["pools"]
    assert written(pool["policy"]) == {"name": policy.split('"')[1], "key": "header:X-User", **arrives}
    assert config.document(config.load_text(config.show(loaded))) == config.document(loaded)


def test_a_secret_is_read_from_a_file_beside_the_configuration_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "session.key").write_bytes(b"0123456789abcdef\n")
    file = tmp_path / "steelyard.toml"
    settings = (
        'name = "sticky", secret_file = "session.key", same_site = "none", secure = true, max_age = "1h"'
    )
    for text in (SHORT + f"policy = {{ {settings} }}", LONG_POOL + f"policy = {{ {settings} }}"):
        file.write_text(text)
        loaded = config.load(file)
        (pool,) = config.document(loaded)["pools"]
        assert written(pool["policy"]) == {
            "name": "sticky",
            "secret": b"0123456789abcdef".hex(),
            "secure": True,
            "same_site": "none",
            "max_age_ms": 3_600_000,
        }
        for shown in (config.show(loaded), repr(loaded), str(loaded), loaded.model_dump_json()):
            assert "0123456789abcdef" not in shown
            assert b"0123456789abcdef".hex() not in shown
            assert "session.key" in shown
        # Shown from anywhere it is still the same file.
        assert config.document(config.load_text(config.show(loaded))) == config.document(loaded)


LONG_POOL = """\
[listeners.web]
bind = [":8080"]
pool = "app"
[pools.app]
endpoints = ["10.0.0.1:80"]
"""
