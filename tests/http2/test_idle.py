"""HTTP/2 connections that nobody uses end, on either side, in good order; what is in use stays."""

import ssl
from typing import Any

import pytest

from language import Authority, Plan, Running, authority, eventually, in_background, origin, proxy, scripted
from language.http2 import NO_ERROR, Conversation, http2_client
from language.http2_origins import Http2Scripted, http2_scripted

BOTH = pytest.mark.parametrize("secure", [False, True], ids=["clear text", "TLS"])


def in_front(ca: Authority, secure: bool, *endpoints: Any, idle_ms: int) -> Plan:
    tls = {"certificates": [ca.certificate("a.example").files], "alpn": ["h2"]} if secure else None
    return proxy().pool(*endpoints).listener(tls=tls, timeouts={"idle_ms": idle_ms})


def believer(ca: Authority, secure: bool) -> ssl.SSLContext | None:
    return ca.believer() if secure else None


def pinging(connection: Conversation, until: str) -> None:
    """Keeps asking whether the other side is there, as libraries do, until it says goodbye."""
    while connection.goaway is None:
        assert not connection.ended, until
        pongs = connection.pongs
        connection.h2.ping(b"12345678")
        connection.flush()
        connection.until(lambda pongs=pongs: connection.pongs > pongs or connection.goaway is not None, until)  # type: ignore[misc]
        # As fast as answers come would be a flood.
        connection.socket.settimeout(0.02)
        try:
            connection.pump()
        except TimeoutError:
            pass
        finally:
            connection.socket.settimeout(20)


class TestOfClients:
    @BOTH
    def test_one_without_streams_is_told_and_closed(self, secure: bool) -> None:
        ca = authority()
        running = in_front(ca, secure, origin(), idle_ms=200).start()
        client = http2_client(running, tls=believer(ca, secure))
        assert client.get().status == 200
        client.expect_goaway(NO_ERROR)
        client.expect_closed()
        eventually(lambda: running.listener()["connections"] == 0)

    @BOTH
    def test_one_with_a_stream_stays(self, secure: bool) -> None:
        ca = authority()
        server = scripted()
        running = in_front(ca, secure, server, idle_ms=200).start()
        client = http2_client(running, tls=believer(ca, secure))
        stream = client.open()
        connection = server.accept()
        connection.expect_request()
        running.expect_to_live_on(0.8)
        # Whatever has been sent by now comes before the answer to this.
        pongs = client.pongs
        client.h2.ping(b"12345678")
        client.flush()
        client.until(lambda: client.pongs > pongs, "the answer to a PING")
        assert client.goaway is None
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert stream.expect_response(200).body == b"ok"
        client.expect_goaway(NO_ERROR)

    def test_pings_are_no_use_of_one(self) -> None:
        client = http2_client(in_front(authority(), False, origin(), idle_ms=300).start())
        assert client.get().status == 200
        pinging(client, "a GOAWAY to a client that only pings")
        assert client.goaway == NO_ERROR

    def test_a_request_that_crosses_the_goodbye_is_served(self) -> None:
        server = scripted()
        running = in_front(authority(), False, server, idle_ms=200).start()
        client = http2_client(running)
        client.until(lambda: client.acknowledged, "all that is said at first")
        # It has been said, and this client has not read it.
        eventually(client.readable)
        late = client.open()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert late.expect_response(200).body == b"ok"
        assert client.goaway == NO_ERROR
        client.expect_closed()


class TestToEndpoints:
    def started(self, secure: bool, **connections: Any) -> tuple[Running, Http2Scripted]:
        ca = authority()
        context = ca.server(ca.certificate("127.0.0.1"), alpn=["h2"]) if secure else None
        server = http2_scripted(tls=context)
        tls = {"ca": str(ca.file)} if secure else None
        protocol = "auto" if secure else "h2c"
        return proxy().pool(server, protocol=protocol, tls=tls, connections=connections).start(), server

    @BOTH
    def test_one_without_streams_is_ended(self, secure: bool) -> None:
        running, server = self.started(secure, idle_timeout_ms=200)
        asked = in_background(running)
        connection = server.accept()
        connection.expect_request().respond(200)
        assert asked.reply().status == 200
        connection.expect_goaway(NO_ERROR)
        connection.expect_closed()
        eventually(lambda: running.endpoint(server)["connections"] == 0)
        again = in_background(running)
        server.accept().expect_request().respond(200)
        assert again.reply().status == 200

    @BOTH
    def test_one_with_a_stream_stays(self, secure: bool) -> None:
        running, server = self.started(secure, idle_timeout_ms=200)
        asked = in_background(running)
        connection = server.accept()
        stream = connection.expect_request()
        running.expect_to_live_on(0.8)
        beside = in_background(running, "/beside")
        connection.expect_request(target="/beside").respond(200)
        assert beside.reply().status == 200
        assert connection.goaway is None
        stream.respond(200)
        assert asked.reply().status == 200
        connection.expect_goaway(NO_ERROR)

    def test_pings_are_no_use_of_one(self) -> None:
        running, server = self.started(False, idle_timeout_ms=300)
        asked = in_background(running)
        connection = server.accept()
        connection.expect_request().respond(200)
        assert asked.reply().status == 200
        pinging(connection, "a GOAWAY to an endpoint that only pings")
        assert connection.goaway == NO_ERROR

    def test_off_is_never(self) -> None:
        running, server = self.started(False, idle_timeout_ms=None)
        asked = in_background(running)
        connection = server.accept()
        connection.expect_request().respond(200)
        assert asked.reply().status == 200
        running.expect_to_live_on(1.2)
        again = in_background(running)
        connection.expect_request().respond(200)
        assert again.reply().status == 200
