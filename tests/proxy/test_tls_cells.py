"""HTTP/1.1 through a proxy, in every cell of (clear text, TLS) in front x (clear text, TLS) behind."""

import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from language import (
    Authority,
    Plan,
    Raw,
    Running,
    Scripted,
    authority,
    eventually,
    load,
    ok,
    origin,
    proxy,
    raw,
    scripted,
    steady_load,
)
from language.wire import PATIENCE_S

LARGE = random.Random(7).randbytes(3_000_000)


@dataclass
class Cell:
    """Which sides speak TLS."""

    front: bool
    behind: bool
    ca: Authority = field(default_factory=authority)

    def server(self) -> Scripted:
        """An endpoint that the test plays itself, with OpenSSL."""
        return scripted(tls=self.ca.server(self.ca.certificate("127.0.0.1")) if self.behind else None)

    def real(self, name: str = "real") -> Any:
        """A real origin; behind TLS there is another proxy before it."""
        target = origin().named(name).start()
        if not self.behind:
            return target.address
        tls = {"certificates": [self.ca.certificate("127.0.0.1").files]}
        return f"127.0.0.1:{proxy().pool(target).listener(tls=tls).start().port}"

    def plan(self, *endpoints: Any, **settings: Any) -> Plan:
        listener = settings.pop("listener", {})
        tls = {"ca": str(self.ca.file)} if self.behind else None
        plan = proxy().pool(*endpoints, tls=tls, **settings)
        return plan.listener(tls=self.in_front() if self.front else None, **listener)

    def in_front(self) -> dict[str, Any]:
        return {"certificates": [self.ca.certificate("a.example", "127.0.0.1").files]}

    @property
    def context(self) -> ssl.SSLContext | None:
        return self.ca.believer() if self.front else None

    def connect(self, running: Running, **options: Any) -> Raw:
        return raw(running, tls=self.context, **options)


@pytest.fixture(
    params=[(False, True), (True, False), (True, True)], ids=["tls behind", "tls in front", "tls on both"]
)
def cell(request: pytest.FixtureRequest, everything_is_closed: None) -> Cell:
    return Cell(*request.param)


class TestBodies:
    @pytest.mark.parametrize("chunked", [False, True])
    def test_go_up_whole(self, cell: Cell, chunked: bool) -> None:
        server = cell.server()
        running = cell.plan(server, listener={"timeouts": {"request_body_ms": 20_000}}).start()
        connection = cell.connect(running)
        head = b"POST / HTTP/1.1\r\nHost: a.example\r\n"
        in_background = sending(
            connection,
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(LARGE)
            if chunked
            else head + f"Content-Length: {len(LARGE)}\r\n\r\n".encode() + LARGE,
        )
        message = server.accept().read_request()
        in_background()
        assert message.body == LARGE

    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    def test_come_down_whole(self, cell: Cell, framing: str) -> None:
        server = cell.server()
        connection = cell.connect(cell.plan(server).start()).get()
        at_server = server.accept()
        at_server.expect_request()
        head = b"HTTP/1.1 200 OK\r\n"
        match framing:
            case "length":
                answer = head + f"Content-Length: {len(LARGE)}\r\n\r\n".encode() + LARGE
            case "chunked":
                answer = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(LARGE)
            case _:
                answer = head + b"\r\n" + LARGE
        in_background = sending(at_server, answer, end=framing == "close")
        assert connection.expect_response(200).body == LARGE
        in_background()

    def test_small_ones_pass_as_they_come(self, cell: Cell) -> None:
        server = cell.server()
        connection = cell.connect(cell.plan(server).start()).get()
        at_server = server.accept()
        at_server.expect_request()
        at_server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.read_response(body=False)
        for _ in range(20):
            at_server.send(b"1\r\nx\r\n")
            connection.expect_bytes(b"1\r\nx\r\n")
        at_server.send(b"0\r\n\r\n")
        connection.expect_bytes(b"0\r\n\r\n")

    def test_a_client_that_does_not_read_holds_up_the_endpoint(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        connection = cell.connect(running, receive_bytes=4096).get()
        at_server = server.accept()
        at_server.expect_request()
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {20 * len(LARGE)}\r\n\r\n".encode()
        at_server.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            at_server.send(answer + 20 * LARGE)
        at_server.close()
        connection.expect_cut_short(200)


class TestConnections:
    def test_are_kept_alive_on_both_sides(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        connection = cell.connect(running)
        connection.get("/0")
        at_server = server.accept()
        for number in range(3):
            at_server.expect_request(target=f"/{number}")
            at_server.send(ok())
            connection.expect_response(200)
            connection.get(f"/{number + 1}")
        assert not server.is_called()

    def test_carry_requests_that_were_sent_all_at_once(self, cell: Cell) -> None:
        running = cell.plan(cell.real()).start()
        connection = cell.connect(running)
        connection.send(50 * b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        for _ in range(50):
            connection.expect_response(200)

    def test_carry_another_protocol_both_ways(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        connection = cell.connect(running).get("/", "Connection: upgrade", "Upgrade: echo")
        at_server = server.accept()
        at_server.expect_request()
        # What comes right behind it belongs to the other protocol.
        at_server.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst")
        connection.read_response()
        connection.expect_bytes(b"first")
        for number in range(20):
            connection.send(b"up %d" % number)
            at_server.expect_bytes(b"up %d" % number)
            at_server.send(b"down %d" % number)
            connection.expect_bytes(b"down %d" % number)
        in_background = sending(connection, LARGE)
        assert at_server.read_exactly(len(LARGE)) == LARGE
        in_background()
        in_background = sending(at_server, LARGE)
        assert connection.read_exactly(len(LARGE)) == LARGE
        in_background()
        at_server.close()
        connection.expect_gone()
        eventually(lambda: running.listener()["connections"] == 0)

    def test_that_end_early_are_seen_to(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        connection = cell.connect(running).get()
        at_server = server.accept()
        at_server.expect_request()
        at_server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        at_server.close()
        connection.expect_cut_short(200)
        running.expect_nothing_left()

    def test_of_clients_that_leave_take_the_endpoints_with_them(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        connection = cell.connect(running).get()
        at_server = server.accept()
        at_server.expect_request()
        connection.close()
        assert at_server.read_rest_of_all() == b""
        running.expect_nothing_left()

    def test_that_went_stale_are_replaced(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        connection = cell.connect(running).get()
        at_server = server.accept()
        at_server.expect_request()
        at_server.send(ok())
        connection.expect_response(200)
        at_server.close()
        connection.get()
        at_server = server.accept()
        at_server.expect_request()
        at_server.send(ok())
        connection.expect_response(200)
        assert running.endpoint(server)["failures"] == 0

    def test_that_fail_are_tried_elsewhere(self, cell: Cell) -> None:
        server = cell.server()
        good = cell.real("good")
        running = cell.plan(server, good, policy="round_robin").start()
        # Rotations begin with the first in tests.
        connection = cell.connect(running).get()
        server.accept().reset()
        assert connection.expect_response(200).get("x-origin") == "good"


class TestLoads:
    def test_many_clients_are_all_answered(self, cell: Cell) -> None:
        running = cell.plan(cell.real()).workers(2).start()
        load(running, requests=2_000, clients=40, tls=cell.context).expect_all(200, 2_000)
        running.expect_nothing_left()

    def test_a_reload_with_other_certificates_loses_nobody(self, cell: Cell) -> None:
        a, b = cell.real(), cell.real()
        running = cell.plan(a).workers(2).start()
        with steady_load(running, clients=16, tls=cell.context) as busy:
            for turn in range(10):
                before = busy.completed
                running.apply((cell.plan(a, b) if turn % 2 else cell.plan(b)).workers(2))
                eventually(lambda before=before: busy.completed > before + 50)  # type: ignore[misc]
        busy.tally.expect_all(200)
        assert busy.tally.connections == 16
        running.expect_nothing_left()

    def test_a_stop_loses_nobody(self, cell: Cell) -> None:
        server = cell.server()
        running = cell.plan(server).start()
        idle = cell.connect(running).get()
        first = server.accept()
        first.expect_request()
        first.send(ok())
        idle.expect_response(200)
        connection = cell.connect(running).get()
        first.expect_request()
        running.stop()
        eventually(lambda: running.status()["state"] == "draining")
        first.send(ok())
        assert connection.expect_response(200).asks_to_close
        connection.expect_closed()
        # One that lies idle is closed in good order too.
        idle.expect_closed()
        running.expect_stopped()


def chunks(body: bytes) -> bytes:
    pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def sending(wire: Any, data: bytes, *, end: bool = False) -> Callable[[], None]:
    """Sends on a thread of its own; what is returned waits for it."""
    import threading

    def send() -> None:
        wire.send(data)
        if end and isinstance(wire.socket, ssl.SSLSocket):
            wire.end_tls()
        if end:
            wire.socket.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    return lambda: thread.join(PATIENCE_S)
