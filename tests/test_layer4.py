"""What belongs to HTTP is refused on listeners that carry connections or datagrams as they are."""

from pathlib import Path

import pytest

from steelyard import config
from steelyard.config.document import document
from steelyard.config.layer4 import layer4_problems
from steelyard.config.root import Config, ConfigFile
from steelyard.config.show import show
from steelyard.config.source import Source, read_text
from steelyard.errors import ConfigError

BASE = """\
listeners.db.bind = [":5432"]
listeners.db.pool = "db"
pools.db.endpoints = ["10.0.0.1:5432"]
"""


def read(text: str) -> tuple[Config, Source]:
    source = read_text(text, "f.toml")
    return ConfigFile.model_validate(source.data, context={"folder": Path.cwd()}).expanded(), source


def problems(text: str) -> list[str]:
    return [str(problem) for problem in layer4_problems(*read(text))]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('limits.header_bytes = "64k"', "take it out"),
        ("limits.header_count = 100", "take it out"),
        ('limits.target_bytes = "8k"', "take it out"),
        ("limits.streams = 128", "take it out"),
        ("limits.resets = 200", "take it out"),
        ("limits.control_frames = 1000", "take it out"),
        ('timeouts.request_header = "10s"', "take it out"),
        ('timeouts.request_body = "30s"', "take it out"),
    ],
)
def test_what_has_a_default_is_refused_once_it_is_set(protocol: str, line: str, hint: str) -> None:
    text = f'{BASE}listeners.db.protocol = "{protocol}"\nlisteners.db.{line}\n'
    key = line.partition(" ")[0]
    said = f'this belongs to HTTP, and the listener has protocol = "{protocol}"'
    (problem,) = problems(text)
    assert problem.startswith("f.toml:5:")
    assert problem.endswith(f": listeners.db.{key}: {said}\nhint: {hint}")
    assert problems(f"{BASE}listeners.db.{line}\n") == []


def test_what_idles_is_a_tunnel() -> None:
    text = f'{BASE}listeners.db.protocol = "tcp"\nlisteners.db.timeouts.idle = "60s"\n'
    (problem,) = problems(text)
    assert problem.endswith("\nhint: how long nothing may move is timeouts.tunnel of the pool")


def test_certificates_are_not_obtained_for_it() -> None:
    text = BASE + 'listeners.db.protocol = "tcp"\nlisteners.db.tls.acme = ["a.example"]\n'
    (problem,) = problems(text)
    assert "listeners.db.tls.acme: this belongs to HTTP" in problem


def test_what_both_know_is_left_alone() -> None:
    text = BASE + (
        'listeners.db.protocol = "tcp"\n'
        "listeners.db.limits.connections = 10\n"
        'listeners.db.timeouts.handshake = "5s"\n'
        'pools.db.timeouts.tunnel = "10m"\n'
    )
    assert problems(text) == []


def test_no_protocol_is_offered_unasked() -> None:
    tls = 'listeners.db.tls.certificates = [{ cert = "a.pem", key = "a.key" }]\n'

    def offered(text: str) -> list[str]:
        alpn: list[str] = document(read(BASE + tls + text)[0])["listeners"][0]["tls"]["alpn"]
        return alpn

    assert offered("") == ["h2", "http/1.1"]
    assert offered('listeners.db.protocol = "tcp"\n') == []
    assert offered('listeners.db.protocol = "tcp"\nlisteners.db.tls.alpn = ["imap"]\n') == ["imap"]


def test_what_is_carried_crosses_to_the_engine() -> None:
    for protocol in ("http", "tcp", "udp"):
        config, _ = read(f'{BASE}listeners.db.protocol = "{protocol}"\n')
        assert document(config)["listeners"][0]["protocol"] == protocol


def test_of_two_kinds_of_listeners_each_has_its_own() -> None:
    text = BASE + (
        'listeners.db.protocol = "tcp"\n'
        'listeners.web.bind = [":8080"]\n'
        'listeners.web.pool = "app"\n'
        'pools.app = { endpoints = ["10.0.0.2:80"], policy = { name = "maglev", key = "path" } }\n'
        "[[routes]]\n"
        'path = "/api/"\n'
        'pool = "app"\n'
        "[[routes]]\n"
        'listener = "db"\n'
        'host = "*.example.com"\n'
        'pool = "db"\n'
    )
    assert config.load_text(text).listeners["db"].protocol == "tcp"


TOLD = [
    ("listeners.db.redirect_https = true", "listeners.db.redirect_https: a redirect belongs to HTTP"),
    ("listeners.db.proxy_protocol = true", "listeners.db.proxy_protocol: nobody is believed"),
    ('listeners.db.trusted_proxies = ["10.0.0.0/8"]', "listeners.db.trusted_proxies: a field that says who"),
    ('pools.db.retry.on = ["5xx"]', "pools.db.retry.on[0]: a status is nothing that"),
    ('pools.db.reported = "weight"', "pools.db.reported: endpoints report their load in responses"),
    ('pools.db.threshold.latency = "1s"', "pools.db.threshold.latency: nothing measures response times"),
    ('pools.db.send_proxy = "v3"', "pools.db.send_proxy: expected a version of the PROXY protocol"),
    ("pools.db.send_proxy = true", "pools.db.send_proxy: expected a version of the PROXY protocol"),
]


@pytest.mark.parametrize(("line", "said"), TOLD)
def test_what_cannot_be_is_told_with_its_place(line: str, said: str) -> None:
    text = f'{BASE}listeners.db.protocol = "tcp"\n{line}\n'
    with pytest.raises(ConfigError) as caught:
        config.load_text(text, "f.toml")
    (problem,) = [str(one) for one in caught.value.problems]
    assert said in problem
    assert problem.startswith(f"f.toml:{text.count(chr(10))}:"), problem


def test_what_is_believed_and_told_crosses_to_the_engine() -> None:
    text = BASE + (
        "listeners.db.proxy_protocol = true\n"
        'listeners.db.trusted_proxies = ["10.0.0.0/8"]\n'
        'pools.db.send_proxy = "v2"\n'
    )
    crossing = document(config.load_text(text))
    assert crossing["listeners"][0]["proxy_protocol"] is True
    assert crossing["pools"][0]["send_proxy"] == "v2"


def test_the_effective_configuration_shows_nothing_that_would_be_refused() -> None:
    text = f'{BASE}listeners.db.protocol = "tcp"\n'
    shown = show(config.load_text(text))
    assert "connections" in shown
    assert "header_bytes" not in shown
    assert document(config.load_text(shown)) == document(config.load_text(text))
