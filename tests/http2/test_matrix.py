"""Every version in front, clear and over TLS, with every one behind, to servers that nobody here wrote."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from language import Authority, Raw, Running, proxy, raw
from language.grpc import PATIENCE_S, GrpcClient, GrpcServer, grpc_client, grpc_server
from language.http2 import Http2Client, Stream, http2_client
from language.node import NodeServer
from language.tls import Pair

FRONTS = ["1.1", "1.1 over TLS", "2", "2 over TLS"]
# What the pool speaks, which server is behind it, and the version that is spoken in the end.
BEHINDS = {
    "http1": ("http1", "http1", "1.1"),
    "h2c": ("h2c", "h2c", "2.0"),
    "http1 over TLS": ("http1", "https", "1.1"),
    "h2": ("h2", "h2", "2.0"),
    "auto, 2": ("auto", "both", "2.0"),
    "auto, 1.1": ("auto", "https", "1.1"),
}
LARGE = b"0123456789abcdef" * 200_000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass
class Behind:
    """The servers, and the authority that all of them and the proxy are known by."""

    ca: Authority
    pair: Pair
    servers: dict[str, NodeServer]


@pytest.fixture(scope="module")
def behind_all() -> Iterator[Behind]:
    # Opened before the descriptors of any test are counted.
    ca = Authority()
    pair = ca.certificate("127.0.0.1", "a.example")
    servers = {kind: NodeServer(kind, pair) for kind in ("http1", "h2c", "https", "h2", "both")}
    warm = GrpcServer()
    client = GrpcClient(warm.port)
    client.unary(b"x", timeout=PATIENCE_S)
    client.close()
    warm.close()
    yield Behind(ca, pair, servers)
    for server in servers.values():
        server.close()
    ca.close()


@dataclass
class Answer:
    status: int
    body: bytes
    trailers: list[tuple[str, str]]


class Cell:
    """One front and one behind, with a proxy between."""

    def __init__(self, front: str, behind: str, all_: Behind) -> None:
        self.front, self.behind, self.ca, self.pair = front, behind, all_.ca, all_.pair
        self.protocol, kind, self.version = BEHINDS[behind]
        self.server = all_.servers[kind]
        self.tls_in_front, self.tls_behind = front.endswith("TLS"), kind not in ("http1", "h2c")

    def start(self, endpoint: Any = None) -> Running:
        tls = {"ca": str(self.ca.file)} if self.tls_behind else None
        front = {"certificates": [self.pair.files], "alpn": ["h2", "http/1.1"]}
        plan = proxy().pool(endpoint or self.server, protocol=self.protocol, tls=tls)
        return plan.listener(tls=front if self.tls_in_front else None).start()

    def one(self, running: Running) -> Raw:
        return raw(running, tls=self.ca.believer(alpn=["http/1.1"]) if self.tls_in_front else None)

    def two(self, running: Running) -> Http2Client:
        return http2_client(running, tls=self.ca.believer() if self.tls_in_front else None)

    def ask(
        self, method: str, target: str, pieces: Iterable[bytes] = (), *, trailers: bool = False
    ) -> Answer:
        """One exchange on a connection of its own; `pieces` go without a length."""
        pieces = list(pieces)
        if self.front.startswith("1.1"):
            return self._ask_one(method, target, pieces, trailers)
        stream = self.two(self.start()).open(method, target, end=not pieces)
        for number, piece in enumerate(pieces):
            stream.send(piece, end=not trailers and number + 1 == len(pieces))
        if trailers:
            stream.trailers([("x-up", "1")])
        got = stream.expect_end()
        assert got.head is not None
        return Answer(int(dict(got.head)[":status"]), bytes(got.body), got.trailers)

    def _ask_one(self, method: str, target: str, pieces: list[bytes], trailers: bool) -> Answer:
        connection = self.one(self.start())
        head = f"{method} {target} HTTP/1.1\r\nHost: a.example\r\n"
        connection.send((head + ("Transfer-Encoding: chunked\r\n\r\n" if pieces else "\r\n")).encode())
        for piece in pieces:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if pieces:
            connection.send(b"0\r\nx-up: 1\r\n\r\n" if trailers else b"0\r\n\r\n")
        message = connection.read_response()
        return Answer(message.status, message.body, message.trailers)


@pytest.fixture(params=BEHINDS)
def behind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FRONTS)
def cell(request: pytest.FixtureRequest, behind: str, behind_all: Behind) -> Cell:
    return Cell(request.param, behind, behind_all)


def test_a_request_arrives_in_the_version_that_was_agreed_on(cell: Cell) -> None:
    answer = cell.ask("GET", "/echo?a=b")
    seen = json.loads(answer.body)
    assert (answer.status, seen["method"], seen["target"]) == (200, "GET", "/echo?a=b")
    assert (seen["version"], seen["secure"]) == (cell.version, cell.tls_behind)
    secure = "https" if cell.tls_behind else "http"
    assert seen["scheme"] == (secure if cell.version == "2.0" else None)
    assert seen["headers"]["x-forwarded-proto"] == ("https" if cell.tls_in_front else "http")


def test_a_body_and_trailers_pass_both_ways(cell: Cell) -> None:
    answer = cell.ask("POST", "/echo", [b"abc", b"def"], trailers=True)
    seen = json.loads(answer.body)
    assert seen["sum"] == hashlib.sha256(b"abcdef").hexdigest()
    assert seen["trailers"] == {"x-up": "1"}
    assert answer.trailers == [("x-down", "2")]


def test_large_bodies_pass_both_ways(cell: Cell) -> None:
    seen = json.loads(cell.ask("POST", "/echo", [LARGE]).body)
    assert (seen["bytes"], seen["sum"]) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert cell.ask("GET", f"/bytes/{len(LARGE)}").body == b"x" * len(LARGE)


def test_both_ways_move_at_once(cell: Cell) -> None:
    running = cell.start()
    words = [b"one", b"two", b"three"]
    if cell.front.startswith("1.1"):
        connection = cell.one(running)
        connection.send(b"POST /stream HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number, word in enumerate(words):
            connection.send(b"%x\r\n%s\r\n" % (len(word), word))
            if number == 0:
                assert connection.read_response(body=False).status == 200
            connection.expect_bytes(b"%x\r\n%s\r\n" % (len(word), word.upper()))
        connection.send(b"0\r\n\r\n")
        connection.expect_bytes(b"0\r\n\r\n")
        return
    stream = cell.two(running).open("POST", "/stream", end=False)
    for word in words:
        stream.send(word)
        assert stream.expect_bytes(len(word)) == word.upper()
    stream.end()
    assert bytes(stream.expect_end().body) == b""


def test_a_websocket_passes(cell: Cell) -> None:
    running = cell.start()
    big = LARGE[:500_000]
    if cell.front.startswith("1.1"):
        connection = cell.one(running).get(
            "/chat", "Connection: upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}"
        )
        answer = connection.read_response()
        accept = hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert (answer.status, answer.get("upgrade")) == (101, "websocket")
        assert answer.get("sec-websocket-accept") == base64.b64encode(accept).decode()
        assert answer.get("x-over") == cell.version.removesuffix(".0")
        for word in (b"one", b"two", big):
            connection.send(word)
            connection.expect_bytes(word)
        return
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat")]
    client = cell.two(running)
    stream: Stream = client.open_with(
        [*pseudo, (":authority", "a.example"), ("sec-websocket-version", "13")], end=False
    )
    head = dict(stream.expect_head())
    assert (head[":status"], head["x-over"]) == ("200", cell.version.removesuffix(".0"))
    for word in (b"one", b"two", big):
        stream.send(word)
        assert stream.expect_bytes(len(word)) == word
    stream.end()
    stream.expect_end()


@pytest.mark.parametrize("behind", ["h2c", "h2", "auto, 2"])
@pytest.mark.parametrize("front", ["2", "2 over TLS"])
def test_calls_of_grpc_of_every_kind_pass(front: str, behind: str, behind_all: Behind) -> None:
    cell = Cell(front, behind, behind_all)
    server = grpc_server(tls=cell.pair if cell.tls_behind else None)
    client = grpc_client(cell.start(server).port, cell.ca if cell.tls_in_front else None)
    answer, call = client.unary.with_call(b"hello", metadata=(("x-up", "0"),), timeout=PATIENCE_S)
    assert answer == b"hello"
    assert ("x-last", "2") in list(call.trailing_metadata())
    assert dict(server.seen)["x-up"] == "0"
    assert client.unary(LARGE, timeout=PATIENCE_S) == LARGE
    numbers = [str(number).encode() for number in range(200)]
    assert list(client.down(b"200", timeout=PATIENCE_S)) == numbers
    assert client.up(iter(numbers), timeout=PATIENCE_S) == b",".join(numbers)
    words = [b"one", b"two", b"three"]
    assert list(client.both(iter(words), timeout=PATIENCE_S)) == [word.upper() for word in words]
