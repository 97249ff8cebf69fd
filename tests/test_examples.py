"""Every example runs, and says what it promises."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def said_by(example: str) -> list[str]:
    """The lines that it has written when it has ended well."""
    command = [sys.executable, str(EXAMPLES / example / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_five_busy_servers_share_a_hundred_requests() -> None:
    counts = dict(line.split(": ") for line in said_by("busy-servers"))
    assert set(counts) == {f"server-{number}" for number in range(1, 6)}
    assert sum(int(count) for count in counts.values()) == 100


def test_calls_of_grpc_are_balanced_one_by_one() -> None:
    assert said_by("grpc") == ["both serve: server-1 10, server-2 10", "one serves: server-2 20"]


def test_https_is_redirected_to_and_renewed() -> None:
    lines = said_by("tls")
    # Of the last day a moment is over already, or not.
    rounded = [line.replace("59 days", "60 days").replace("29 days", "30 days") for line in lines]
    assert rounded == [
        "the server was asked over https",
        "browsers are told max-age=63072000",
        "the certificate holds for 30 days",
        "the renewed one holds for 60 days",
    ]


def test_connections_are_carried_and_one_that_ends_is_passed_over() -> None:
    assert said_by("tcp") == [
        "first, for 127.0.0.1: SELECT 1",
        "second, for 127.0.0.1: SELECT 1",
        "second, for 127.0.0.1: STILL THERE?",
        "second, for 127.0.0.1: STILL THERE?",
    ]


def test_queries_of_dns_are_balanced_one_by_one() -> None:
    assert said_by("dns") == [
        "three answer: 192.0.2.1 10, 192.0.2.2 10, 192.0.2.3 10",
        "two answer: 192.0.2.1 15, 192.0.2.2 15",
    ]


def test_a_client_comes_back_by_http3() -> None:
    assert said_by("http3") == [
        'over TCP the client is told: h3=":PORT"; ma=86400',
        "over UDP it asks for /echo, by https",
        "of HTTP/3 there was 1 request",
    ]
