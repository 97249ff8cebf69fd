"""WebSockets, in every cell: over a connection of HTTP/1.1 (RFC 6455) or a stream of HTTP/2 (RFC 8441)."""

import base64
import hashlib

import pytest
from h2.settings import SettingCodes

from language import Raw, Running, ScriptedConnection, eventually, proxy, raw, scripted
from language.http2 import PROTOCOL_ERROR, Http2Client, Stream, http2_client
from language.http2_origins import Http2Server, http2_scripted

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CONNECTS = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
ASKING = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")]


def accept_of(key: str) -> str:
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


def connect(client: Http2Client, protocol: str = "websocket") -> Stream:
    pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", "/chat")]
    return client.open_with([*pseudo, (":authority", "a.example"), *ASKING], end=False)


def upgrade(client: Raw) -> Raw:
    fields = [f"{name}: {value}" for name, value in ASKING]
    return client.get(
        "/chat", "Connection: upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", *fields
    )


def agree(connection: ScriptedConnection) -> str:
    """The endpoint's side of a handshake of HTTP/1.1; returns the key."""
    asked = connection.expect_request(target="/chat")
    assert asked.get("upgrade") == "websocket"
    assert asked.get("connection") == "upgrade"
    assert asked.get("sec-websocket-version") == "13"
    key = asked.get("sec-websocket-key")
    assert key is not None
    assert len(base64.b64decode(key)) == 16
    connection.send(
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n"
        + f"Sec-WebSocket-Accept: {accept_of(key)}\r\n\r\n".encode()
    )
    return key


def expect_agreed(stream: Stream) -> dict[str, str]:
    head = dict(stream.expect_head())
    assert head[":status"] == "200"
    assert head["sec-websocket-protocol"] == "chat"
    assert not {"connection", "upgrade", "sec-websocket-accept", "sec-websocket-key"} & set(head)
    return head


def expect_connect(server: Http2Server) -> Stream:
    stream = server.expect_request("CONNECT", "/chat", whole=False)
    head = dict(stream.expect_head())
    assert (head[":protocol"], head[":authority"]) == ("websocket", "a.example")
    assert head["sec-websocket-version"] == "13"
    assert not {"connection", "upgrade", "sec-websocket-key"} & set(head)
    return stream


def test_over_2_to_an_endpoint_of_1_1() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    stream = connect(http2_client(running))
    connection = server.accept()
    agree(connection)
    expect_agreed(stream)
    stream.send(b"up")
    connection.expect_bytes(b"up")
    connection.send(b"down")
    assert stream.expect_bytes(4) == b"down"
    big = b"x" * 500_000
    stream.send(big)
    connection.expect_bytes(big)
    connection.send(big)
    assert len(stream.expect_bytes(len(big))) == len(big)
    eventually(lambda: running.in_flight() == 1)
    stream.end()
    connection.expect_closed()
    connection.send(b"last")
    connection.close()
    assert bytes(stream.expect_end().body) == b"last"
    running.expect_nothing_left(clients=1)


def test_over_1_1_to_an_endpoint_of_2() -> None:
    server = http2_scripted()
    running = proxy().pool(server, protocol="h2c").start()
    client = upgrade(raw(running))
    stream = expect_connect(server.accept(CONNECTS))
    stream.head([(":status", "200"), ("sec-websocket-protocol", "chat")])
    answer = client.read_response()
    assert answer.status == 101
    assert answer.get("sec-websocket-accept") == accept_of(KEY)
    assert (answer.get("upgrade"), answer.get("connection")) == ("websocket", "upgrade")
    client.send(b"up")
    assert stream.expect_bytes(2) == b"up"
    stream.send(b"down")
    client.expect_bytes(b"down")
    client.half_close()
    stream.expect_end()
    stream.send(b"last", end=True)
    assert client.read_rest() == b"last"
    running.expect_nothing_left()


def test_over_2_to_an_endpoint_of_2() -> None:
    server = http2_scripted()
    running = proxy().pool(server, protocol="h2c").start()
    client = http2_client(running)
    asked = connect(client)
    stream = expect_connect(server.accept(CONNECTS))
    stream.head([(":status", "200"), ("sec-websocket-protocol", "chat")])
    expect_agreed(asked)
    asked.send(b"up")
    assert stream.expect_bytes(2) == b"up"
    stream.send(b"down", end=True)
    assert asked.expect_bytes(4) == b"down"
    asked.end()
    asked.expect_end()
    running.expect_nothing_left(clients=1)


def test_other_streams_go_on_beside_it() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    client = http2_client(running)
    socket = connect(client)
    agree(server.accept())
    expect_agreed(socket)
    other = client.open()
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    other.expect_response(200)


def test_an_endpoint_without_extended_connect_is_asked_without_an_upgrade() -> None:
    server = http2_scripted()
    client = upgrade(raw(proxy().pool(server, protocol="h2c").start()))
    stream = server.accept().expect_request("GET", "/chat")
    assert not {"upgrade", "connection"} & set(dict(stream.expect_head()))
    stream.respond(426)
    client.expect_response(426)


@pytest.mark.parametrize("over", ["2", "1.1"])
def test_a_refusal_passes(over: str) -> None:
    server = scripted()
    running: Running = proxy().pool(server).start()
    if over == "2":
        stream = connect(http2_client(running))
    else:
        client = upgrade(raw(running))
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    if over == "2":
        assert stream.expect_response(403).body == b"no"
    else:
        assert client.expect_response(403).body == b"no"


@pytest.mark.parametrize("accept", ["", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"])
def test_an_endpoint_that_proves_nothing_is_not_believed(accept: str) -> None:
    server = scripted()
    stream = connect(http2_client(proxy().pool(server, retry={"attempts": 1}).start()))
    connection = server.accept()
    connection.expect_request()
    connection.send(f"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{accept}\r\n".encode())
    stream.expect_response(502)


def test_other_protocols_are_refused() -> None:
    connect(http2_client(proxy().pool(scripted()).start()), "connect-udp").expect_response(501)


def test_a_protocol_takes_a_connect() -> None:
    pseudo = [(":method", "GET"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/")]
    client = http2_client(proxy().pool(scripted()).start())
    client.open_with([*pseudo, (":authority", "a")]).expect_reset(PROTOCOL_ERROR)


def test_a_client_that_resets_ends_the_endpoints_connection() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    stream = connect(http2_client(running))
    connection = server.accept()
    agree(connection)
    expect_agreed(stream)
    stream.reset()
    connection.expect_closed()
    running.expect_nothing_left(clients=1)


def test_an_endpoint_that_breaks_off_resets_the_stream() -> None:
    server = scripted()
    stream = connect(http2_client(proxy().pool(server).start()))
    connection = server.accept()
    agree(connection)
    expect_agreed(stream)
    connection.reset()
    stream.expect_reset()


def test_a_quiet_one_ends() -> None:
    server = scripted()
    running = proxy().pool(server, timeouts={"tunnel_ms": 200}).start()
    stream = connect(http2_client(running))
    connection = server.accept()
    agree(connection)
    expect_agreed(stream)
    stream.expect_reset()
    connection.expect_closed()
