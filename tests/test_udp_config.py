"""What a file may say of listeners that carry datagrams, and of the pools behind them."""

import json
from pathlib import Path

import pytest

from steelyard import config
from steelyard.config.show import show
from steelyard.errors import ConfigError

DNS = """\
listeners.dns.bind = [":5353"]
listeners.dns.protocol = "udp"
listeners.dns.pool = "dns"
pools.dns.endpoints = ["10.0.0.1:53"]
"""
PLAIN = 'listeners.plain.bind = [":5353"]\nlisteners.plain.pool = "dns"\n'


def health(text: str) -> dict[str, object]:
    made = config.document(config.load_text(text))
    found: dict[str, object] = made["pools"][0]["health"]
    return found


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load_text(text, "f.toml")
    (problem,) = caught.value.problems
    return str(problem)


def test_a_session_may_be_silent_for_a_minute_and_ends_with_no_reply() -> None:
    (listener,) = config.document(config.load_text(DNS))["listeners"]
    assert (listener["protocol"], listener["timeouts"]["idle_ms"], listener["responses"]) == (
        "udp",
        60_000,
        None,
    )
    text = DNS + 'listeners.dns.responses = 1\nlisteners.dns.timeouts.idle = "5s"\n'
    (listener,) = config.document(config.load_text(text))["listeners"]
    assert (listener["timeouts"]["idle_ms"], listener["responses"]) == (5_000, 1)


def test_a_port_of_tcp_is_another_than_that_of_udp() -> None:
    assert len(config.load_text(DNS + PLAIN).listeners) == 2
    twice = DNS + DNS.replace("listeners.dns", "listeners.other").splitlines()[0]
    twice += '\nlisteners.other.protocol = "udp"\nlisteners.other.pool = "dns"\n'
    assert "conflicts with :5353 of dns" in told(twice)


def test_nothing_is_probed_unless_it_is_said_what() -> None:
    assert health(DNS)["interval_ms"] is None
    # TCP connects to a pool say something where connections go there too.
    assert health(DNS + PLAIN)["interval_ms"] == 5_000
    by_route = DNS + PLAIN.replace('pool = "dns"', 'pool = "other"')
    by_route += 'pools.other.endpoints = ["10.0.0.2:80"]\n[[routes]]\nlistener = "plain"\npool = "dns"\n'
    assert health(by_route)["interval_ms"] == 5_000


@pytest.mark.parametrize("what", ["port = 8053", 'path = "/healthz"', 'udp = "ping"'])
def test_what_is_said_is_probed(what: str) -> None:
    assert health(DNS + f"pools.dns.health.{what}\n")["interval_ms"] == 5_000


@pytest.mark.parametrize(
    ("written", "sent"),
    [("ping", b"ping"), ("hex:00ff", b"\x00\xff"), ("hex:", None), ("ä", "ä".encode())],
)
def test_a_probe_is_text_or_hexadecimal(written: str, sent: bytes | None) -> None:
    text = DNS + f'pools.dns.health.udp = "{written}"\n'
    if sent is None:
        assert "a probe of 0 bytes" in told(text)
        return
    assert health(text)["udp"] == sent.hex()


def test_the_effective_configuration_is_one(tmp_path: Path) -> None:
    for more in ("", 'pools.dns.health.udp = "hex:00ff"\n', 'pools.dns.health.udp = "ping"\n'):
        made = config.load_text(DNS + "listeners.dns.responses = 2\n" + more)
        again = config.load_text(show(made))
        assert json.dumps(config.document(again)) == json.dumps(config.document(made))
    assert 'udp = "ping"' in show(made)


WRONG = [
    (
        'listeners.dns.timeouts.idle = "off"',
        "listeners.dns.timeouts.idle: a session of datagrams has no other end",
    ),
    ('listeners.dns.timeouts.handshake = "5s"', "TLS is not spoken in datagrams"),
    ("listeners.dns.limits.streams = 10", 'the listener has protocol = "udp"'),
    ("listeners.dns.responses = 0", "listeners.dns.responses: 0"),
    ("pools.dns.queue.size = 10", "pools.dns.queue: a datagram that finds no endpoint is dropped"),
    ("pools.dns.retry.attempts = 3", "pools.dns.retry: a datagram is not kept"),
    ('pools.dns.timeouts.tunnel = "10s"', "pools.dns.timeouts: how long nothing may move in a session"),
    ("pools.dns.connections.max = 3", "pools.dns.connections: each session has a socket of its own"),
    ('pools.dns.send_proxy = "v2"', "pools.dns.send_proxy: datagrams do not begin with a header"),
    (
        'listeners.dns.proxy_protocol = true\nlisteners.dns.trusted_proxies = ["10.0.0.0/8"]',
        "listeners.dns.proxy_protocol: datagrams do not begin with a header of the PROXY protocol",
    ),
    ("pools.dns.tls = true", "pools.dns.tls: TLS is not spoken in datagrams"),
    ('pools.dns.health.interval = "1s"', "pools.dns.health: whether a port accepts TCP says nothing"),
    ("pools.dns.health.port = 0", "pools.dns.health.port: "),
    ("pools.dns.health.port = 65536", "pools.dns.health.port: "),
    ('pools.dns.health.udp = "hex:0"', '"hex:0" is not in hexadecimal'),
    ("pools.dns.health.udp = 3", "expected text or hexadecimal digits"),
    ('pools.dns.health = { udp = "x", path = "/" }', "a probe sends a datagram or a request, not both"),
]


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_what_means_nothing_is_refused_with_its_place(line: str, said: str) -> None:
    problem = told(f"{DNS}{line}\n")
    assert problem.startswith("f.toml:5:")
    assert said in problem


def test_what_only_datagrams_have_is_refused_elsewhere() -> None:
    plain = 'listeners.web.bind = [":80"]\nlisteners.web.pool = "app"\npools.app.endpoints = ["a:80"]\n'
    assert "only sessions of datagrams end" in told(plain + "listeners.web.responses = 1\n")


def test_unix_sockets_take_no_datagrams() -> None:
    assert "datagrams do not come by a unix socket" in told(DNS.replace(":5353", "unix:/run/a.sock"))
    assert "cannot send datagrams to a unix socket" in told(DNS.replace("10.0.0.1:53", "unix:/run/a.sock"))


def test_what_connections_need_stays_where_they_come_too() -> None:
    config.load_text(DNS + PLAIN + "pools.dns.queue.size = 10\npools.dns.retry.attempts = 3\n")
