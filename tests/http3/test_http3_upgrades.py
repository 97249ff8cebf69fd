"""WebSockets over a stream of HTTP/3 (RFC 9220), and what clients of gRPC get."""

import base64
import hashlib

from language import ScriptedConnection, authority, eventually, origin, proxy, scripted
from language.http2_origins import http2_scripted
from language.http3 import Http3Client, Stream, http3_client, speaking

ASKING = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")]
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def accept_of(key: str) -> str:
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


def connect(h3: Http3Client) -> Stream:
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat")]
    return h3.open_with([*pseudo, (":authority", "a.example"), *ASKING], end=False)


def agree(connection: ScriptedConnection) -> None:
    """The endpoint agrees to a WebSocket."""
    asked = connection.expect_request(target="/chat")
    accept = accept_of(asked.get("sec-websocket-key") or "")
    connection.send(
        f"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )


class TestWebSockets:
    def test_bytes_pass_both_ways_until_both_sides_have_ended(self) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().pool(server), ca).start()
        h3 = http3_client(running, ca)
        h3.until(lambda: h3.h3.received_settings, "settings")
        assert (h3.h3.received_settings or {})[0x8] == 1
        stream = connect(h3)
        connection = server.accept()
        asked = connection.expect_request(target="/chat")
        assert (asked.get("upgrade"), asked.get("connection")) == ("websocket", "upgrade")
        connection.send(
            b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n"
            + f"Sec-WebSocket-Accept: {accept_of(asked.get('sec-websocket-key') or '')}\r\n\r\nfirst".encode()
        )
        head = dict(stream.expect_head())
        assert (head[":status"], head["sec-websocket-protocol"]) == ("200", "chat")
        assert not {"connection", "upgrade", "sec-websocket-accept"} & set(head)
        assert stream.expect_bytes(5) == b"first"
        stream.send(b"x" * 50_000).expect_sent()
        assert connection.read_exactly(50_000) == b"x" * 50_000
        connection.send(b"y" * 300_000)
        assert len(stream.expect_bytes(300_000)) == 300_000
        assert running.in_flight() == 1
        stream.end()
        connection.expect_closed()
        connection.close()
        stream.expect_end()
        eventually(lambda: running.in_flight() == 0)
        assert h3.closed is None

    def test_what_a_client_does_not_take_waits_for_as_long_as_tunnels_may_be_idle(self) -> None:
        ca = authority()
        server = scripted()
        plan = proxy().pool(server, timeouts={"tunnel_ms": 60_000})
        running = speaking(plan, ca, timeouts={"idle_ms": 200}).start()
        h3 = http3_client(running, ca, max_stream_data=2_000)
        stream = connect(h3)
        connection = server.accept()
        agree(connection)
        stream.expect_head()
        h3.quic.unread.add(stream.number)
        connection.send(b"y" * 100_000)
        h3.until(lambda: len(stream.got.body) > 1_900, "a full window")
        running.expect_to_live_on(for_s=0.7)
        h3.quic.unread.discard(stream.number)
        # What has been taken makes room now.
        stream.send(b"ping")
        connection.expect_bytes(b"ping")
        assert len(stream.expect_bytes(100_000)) == 100_000

    def test_an_endpoint_that_will_not_answers_as_it_likes(self) -> None:
        ca = authority()
        h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
        assert connect(h3).expect_response().status == 200
        assert h3.get().status == 200

    def test_one_that_its_client_leaves_ends_for_its_endpoint_too(self) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().pool(server), ca).start()
        h3 = http3_client(running, ca)
        stream = connect(h3)
        connection = server.accept()
        agree(connection)
        stream.expect_head()
        stream.cancel()
        connection.expect_closed()
        eventually(lambda: running.in_flight() == 0)


class TestGrpc:
    def test_a_call_passes_with_its_trailers(self) -> None:
        ca = authority()
        server = http2_scripted()
        h3 = http3_client(speaking(proxy().pool(server, protocol="h2c"), ca).start(), ca)
        call = h3.open("POST", "/a.B/C", GRPC, end=False).send(b"\0\0\0\0\0", end=True)
        stream = server.accept().expect_request("POST", "/a.B/C")
        stream.respond(
            200, b"\0\0\0\0\0", [("content-type", "application/grpc")], trailers=[("grpc-status", "0")]
        )
        got = call.expect_end()
        assert (bytes(got.body), got.trailers) == (b"\0\0\0\0\0", [("grpc-status", "0")])

    def test_what_the_proxy_refuses_is_a_status_of_grpc(self) -> None:
        ca = authority()
        plan = speaking(proxy().pool(origin()), ca, pool=None)
        reply = http3_client(plan.start(), ca).open("POST", "/a.B/C", GRPC).expect_response(200)
        assert reply.get("grpc-status") == "12"
        assert reply.get("content-type") == "application/grpc"

    def test_a_deadline_that_is_over_is_told_as_such(self) -> None:
        ca = authority()
        server = http2_scripted()
        h3 = http3_client(speaking(proxy().pool(server, protocol="h2c"), ca).start(), ca)
        call = h3.open("POST", "/a.B/C", [*GRPC, ("grpc-timeout", "200m")])
        server.accept().expect_request("POST", "/a.B/C")
        assert call.expect_response(200).get("grpc-status") == "4"
