"""What a configuration may say of HTTP/3, and how it is told where it may not."""

from typing import Any

import pytest

from language import authority
from steelyard import config
from steelyard.errors import ConfigError

TEXT = """\
[listeners.web]
bind = [":8443"]
pool = "app"
http3 = {http3}
[listeners.web.tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[pools.app]
endpoints = ["10.0.0.1:80"]
"""


def text(http3: str) -> str:
    """A configuration whose certificate is there."""
    pair = authority().certificate("a.example")
    return TEXT.format(http3=http3, **pair.files)


def document(text: str) -> dict[str, Any]:
    """Its listener, as the engine is told."""
    return dict(config.document(config.load_text(text, "f.toml"))["listeners"][0])


ON = {"early_data": False, "advertise": True, "port": None}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", ON),
        ("false", None),
        ("{}", ON),
        ("{ early_data = true }", {**ON, "early_data": True}),
        ("{ alt_svc = true }", ON),
        ("{ alt_svc = false }", {**ON, "advertise": False}),
        ("{ alt_svc = 443 }", {**ON, "port": 443}),
    ],
)
def test_what_is_written_arrives_in_the_document(written: str, expected: dict[str, Any] | None) -> None:
    assert document(text(written))["http3"] == expected


def test_it_is_off_unless_asked_for() -> None:
    plain = '[listeners.web]\nbind = [":80"]\n[pools.app]\nendpoints = ["10.0.0.1:80"]\n'
    assert document(plain)["http3"] is None


WRONG = [
    (
        '"yes"',
        "f.toml:4:1: listeners.web.http3: expected true, false or a table\n"
        "hint: for instance true, or { early_data = true }",
    ),
    (
        "{ alt_svc = 0 }",
        "f.toml:4:11: listeners.web.http3.alt_svc: expected true, false or a port\n"
        "hint: from 1 to 65535; true is the listener's own",
    ),
    (
        "{ early = true }",
        'f.toml:4:11: listeners.web.http3.early: unknown key\nhint: did you mean "early_data"?',
    ),
    (
        "{ early_data = 1 }",
        "f.toml:4:11: listeners.web.http3.early_data: expected true or false, found the number 1",
    ),
]


@pytest.mark.parametrize(("written", "message"), WRONG)
def test_what_it_cannot_be_is_told(written: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_text(text(written), "f.toml")
    assert message in [str(problem) for problem in caught.value.problems]


def test_it_is_refused_without_tls() -> None:
    plain = '[listeners.web]\nbind = [":8443"]\npool = "app"\nhttp3 = true\n'
    with pytest.raises(ConfigError) as caught:
        config.load_text(plain + '[pools.app]\nendpoints = ["10.0.0.1:80"]\n', "f.toml")
    (problem,) = caught.value.problems
    assert str(problem) == (
        "f.toml:4:1: listeners.web.http3: HTTP/3 is spoken over TLS alone\n"
        "hint: add [listeners.NAME.tls] with certificates, or take this out"
    )


@pytest.mark.parametrize("written", ["true", "false", "{ alt_svc = 443, early_data = true }"])
def test_what_is_shown_can_be_read_again(written: str) -> None:
    loaded = config.load_text(text(written), "f.toml")
    assert config.load_text(config.show(loaded), "g.toml") == loaded
