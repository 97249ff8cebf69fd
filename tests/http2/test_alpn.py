"""HTTP/2 over TLS: spoken when it was agreed on in the handshake, and only then."""

import httpx

from language import Running, authority, eventually, origin, proxy, raw
from language.http2 import Http2Client, http2_client
from language.scope import keep
from language.tls import Authority

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def both(ca: Authority, *endpoints: object) -> Running:
    """A listener that offers both versions."""
    tls = {"certificates": [ca.certificate("a.example", "127.0.0.1").files], "alpn": ["h2", "http/1.1"]}
    return proxy().pool(*(endpoints or (origin(),)), policy="round_robin").listener(tls=tls).start()


def test_clients_that_offer_both_get_the_newer() -> None:
    ca = authority()
    running = both(ca)
    with httpx.Client(http2=True, verify=ca.believer()) as client:
        replies = [client.get(f"https://127.0.0.1:{running.port}/bytes/100000") for _ in range(3)]
    assert [(reply.status_code, reply.http_version, len(reply.content)) for reply in replies] == [
        (200, "HTTP/2", 100_000)
    ] * 3
    assert running.listener()["accepted"] == 1


def test_clients_that_offer_the_older_alone_get_that() -> None:
    ca = authority()
    running = both(ca)
    with httpx.Client(verify=ca.believer()) as client:
        assert client.get(f"https://127.0.0.1:{running.port}/").http_version == "HTTP/1.1"


def test_streams_over_tls_are_balanced_one_by_one() -> None:
    ca = authority()
    servers = [origin(), origin()]
    running = both(ca, *servers)
    connection = raw(running, tls=ca.believer(alpn=["h2"]))
    client = keep(Http2Client(connection.socket)).begin()
    streams = [client.open() for _ in range(20)]
    names = [stream.expect_response(200).origin for stream in streams]
    assert {name: names.count(name) for name in names} == {one.name: 10 for one in servers}


def test_what_was_agreed_on_is_what_is_spoken() -> None:
    ca = authority()
    running = both(ca)
    older = raw(running, tls=ca.believer(alpn=["http/1.1"]))
    older.send(PREFACE)
    older.expect_response(505)
    newer = raw(running, tls=ca.believer(alpn=["h2"]))
    newer.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    # A server may begin with its settings, and may end without GOAWAY (RFC 9113, 3.4).
    keep(Http2Client(newer.socket)).expect_closed()
    eventually(lambda: running.listener()["bad_requests"] == 2)


def test_in_clear_text_the_first_bytes_tell() -> None:
    running = proxy().pool(origin()).start()
    assert http2_client(running).get().status == 200
    raw(running).get().expect_response(200)
