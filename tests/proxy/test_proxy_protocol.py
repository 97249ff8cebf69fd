"""The PROXY protocol: who a client is, as the balancer in front says, and as endpoints are told."""

import contextlib
import ipaddress
import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from language import (
    Plan,
    Raw,
    Scripted,
    authority,
    eventually,
    haproxy,
    nginx_told,
    ok,
    origin,
    proxy,
    raw,
    scripted,
)
from language.wire import Wire

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 80\r\n"
ECHO = b"GET /echo HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 192.0.2.99\r\n\r\n"
LOOPBACK = ["127.0.0.0/8"]


def binary(source: str, *, port: int = 4711, command: int = 0x21, rest: bytes = b"") -> bytes:
    """A header of version 2 with this client."""
    address = ipaddress.ip_address(source)
    destination = ipaddress.ip_address("198.51.100.1" if address.version == 4 else "2001:db8::1")
    block = address.packed + destination.packed + struct.pack(">HH", port, 80) + rest
    family = 0x11 if address.version == 4 else 0x21
    return SIGNATURE + struct.pack(">BBH", command, family, len(block)) + block


def believing(plan: Plan, trusted: list[str] | None = None, **settings: Any) -> Plan:
    return plan.listener(
        proxy_protocol=True, trusted_proxies=LOOPBACK if trusted is None else trusted, **settings
    )


def seen(body: bytes, name: str) -> list[str]:
    """The values of a field as the origin saw it."""
    return [value for known, value in json.loads(body)["headers"] if known.lower() == name]


class TestHeard:
    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            (LINE, "203.0.113.7"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n", "2001:db8::7"),
            (binary("203.0.113.7"), "203.0.113.7"),
            (binary("2001:db8::7"), "2001:db8::7"),
            (binary("::ffff:203.0.113.7"), "203.0.113.7"),
            (binary("203.0.113.7", rest=b"\x02\x00\x09a.example\xee\x00\x00"), "203.0.113.7"),
            # Of nobody but the balancer itself.
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (binary("203.0.113.7", command=0x20), "127.0.0.1"),
            (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
        ],
    )
    def test_a_client_is_who_the_header_says(self, header: bytes, expected: str) -> None:
        running = believing(proxy().pool(origin().start())).start()
        heard = seen(raw(running).send(header + ECHO).expect_response(200).body, "x-forwarded-for")
        # The balancer may tell of its own client, and nobody else.
        assert heard == ["192.0.2.99, 127.0.0.1" if expected == "127.0.0.1" else expected]

    @pytest.mark.parametrize("header", [LINE, binary("203.0.113.7")])
    def test_it_may_come_in_pieces(self, header: bytes) -> None:
        running = believing(proxy().pool(origin().start())).start()
        asking = raw(running)
        for index in range(len(header)):
            asking.send(header[index : index + 1])
        asking.send(ECHO)
        assert seen(asking.expect_response(200).body, "x-forwarded-for") == ["203.0.113.7"]
        # It is said once for all requests of a connection.
        asking.send(ECHO)
        assert seen(asking.expect_response(200).body, "x-forwarded-for") == ["203.0.113.7"]

    def test_tls_begins_behind_it(self) -> None:
        ca = authority()
        tls = {"certificates": [ca.certificate("a.example").files]}
        running = believing(proxy().pool(origin().start()), tls=tls).start()
        asking = raw(running).send(LINE)
        asking.socket = ca.believer().wrap_socket(asking.socket, server_hostname="a.example")
        asking.send(ECHO)
        assert seen(asking.expect_response(200).body, "x-forwarded-for") == ["203.0.113.7"]

    def test_http2_begins_behind_it(self) -> None:
        running = believing(proxy().pool(origin().start())).start()
        asking = raw(running).send(LINE + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
        # A frame of SETTINGS.
        assert asking.read_exactly(9)[3] == 4

    def test_it_does_not_reach_the_endpoint_of_a_carried_connection(self) -> None:
        server = scripted()
        running = believing(proxy().pool(server), protocol="tcp").start()
        raw(running).send(LINE + b"hello")
        server.accept().expect_bytes(b"hello")

    def test_keys_are_of_the_client(self) -> None:
        servers = [scripted() for _ in range(4)]
        policy = {"name": "maglev", "key": "address"}
        running = believing(proxy().pool(*servers, policy=policy), protocol="tcp").start()
        for number in range(32):
            raw(running).send(binary(f"203.0.113.{number}"))
        eventually(lambda: running.in_flight() == 32)
        spread = [running.endpoint(one)["in_flight"] for one in servers]
        assert min(spread) > 0, spread
        for _ in range(8):
            raw(running).send(binary("203.0.113.200"))
        eventually(lambda: running.in_flight() == 40)
        more = [running.endpoint(one)["in_flight"] for one in servers]
        assert sorted(now - before for now, before in zip(more, spread, strict=True)) == [0, 0, 0, 8]

    def test_over_a_unix_socket_its_permissions_say_who_is_believed(self, tmp_path: Path) -> None:
        path = tmp_path / "front.sock"
        plan = proxy().pool(origin().start())
        running = believing(plan, trusted=[], bind=[f"unix:{path}"]).start()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            asking = Wire(connection).send(LINE + ECHO)
            assert seen(asking.read_response().body, "x-forwarded-for") == ["203.0.113.7"]
        running.expect_nothing_left()


class TestRefused:
    def test_one_that_is_not_believed_is_a_client_like_others(self) -> None:
        running = believing(proxy().pool(origin().start()), ["203.0.113.0/24"]).start()
        assert seen(raw(running).send(ECHO).expect_response(200).body, "x-forwarded-for") == ["127.0.0.1"]
        raw(running).send(LINE + ECHO).expect_response(400)

    @pytest.mark.parametrize(
        "said",
        [
            ECHO,
            b"PROXY TCP4 203.0.113.7 198.51.100.1 4711\r\n" + ECHO,
            b"PROXY TCP4 203.0.113.256 198.51.100.1 4711 80\r\n" + ECHO,
            b"PROXY " + b"x" * 200,
            SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
            SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
            SIGNATURE + b"\x21\x11\xff\xff" + bytes(100),
            binary("203.0.113.7", rest=b"\x02\x00\x09a"),
            b"\x16\x03\x01\x00\x05hello",
        ],
    )
    def test_what_is_no_header_ends_the_connection(self, said: bytes) -> None:
        server = scripted()
        running = believing(proxy().pool(server)).start()
        raw(running).send(said).expect_gone()
        assert running.listener()["bad_requests"] == 1
        assert not server.is_called()
        running.expect_nothing_left()

    @pytest.mark.parametrize("said", [b"", b"P", SIGNATURE, LINE[:-1]])
    def test_one_that_does_not_come_is_not_awaited_for_ever(self, said: bytes) -> None:
        plan = proxy().pool(origin().start())
        running = believing(plan, timeouts={"handshake_ms": 500}).start()
        asking = raw(running)
        # On a machine that is busy the time may be over by now.
        with contextlib.suppress(ConnectionError):
            asking.send(said)
        asking.expect_gone()
        running.expect_nothing_left()

    def test_one_that_ends_before_it(self) -> None:
        running = believing(proxy().pool(origin().start())).start()
        raw(running).send(LINE[:20]).half_close().expect_gone()
        running.expect_nothing_left()

    def test_a_stop_does_not_wait_for_one(self) -> None:
        running = believing(proxy().pool(origin().start())).start()
        asking = raw(running).send(b"PROXY")
        eventually(lambda: running.listener()["connections"] == 1)
        running.stop()
        running.expect_stopped()
        asking.expect_gone()


def read_line(connection: Wire) -> bytes:
    return connection.read_until(b"\r\n", "a header")


def read_binary(connection: Wire) -> tuple[int, str, int, dict[int, bytes]]:
    """The command, the client's address and port, and the extensions."""
    assert connection.read_exactly(12) == SIGNATURE
    command, family, length = struct.unpack(">BBH", connection.read_exactly(4))
    rest = connection.read_exactly(length)
    if family == 0:
        return command, "", 0, extensions(rest)
    size = 4 if family == 0x11 else 16
    (port,) = struct.unpack(">H", rest[2 * size : 2 * size + 2])
    return command, str(ipaddress.ip_address(rest[:size])), port, extensions(rest[2 * size + 4 :])


def extensions(rest: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while rest:
        kind, length = struct.unpack(">BH", rest[:3])
        found[kind], rest = rest[3 : 3 + length], rest[3 + length :]
    return found


def telling(server: Scripted | str, version: str, **settings: Any) -> Plan:
    return proxy().pool(server, send_proxy=version, **settings)


def own_port(asking: Raw) -> int:
    port: int = asking.socket.getsockname()[1]
    return port


class TestTold:
    def test_in_a_line(self) -> None:
        server = scripted()
        running = telling(server, "v1").listener(protocol="tcp").start()
        asking = raw(running).send(b"hello")
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {own_port(asking)} {running.port}\r\n"
        server.accept().expect_bytes(line.encode() + b"hello")

    def test_in_binary(self) -> None:
        server = scripted()
        running = telling(server, "v2").listener(protocol="tcp").start()
        asking = raw(running)
        connection = server.accept()
        assert read_binary(connection) == (0x21, "127.0.0.1", own_port(asking), {})
        asking.send(b"hello")
        connection.expect_bytes(b"hello")

    def test_what_tls_has_agreed_on(self) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files], "alpn": ["imap"]}
        running = telling(server, "v2").listener(protocol="tcp", tls=tls).start()
        asking = raw(running, tls=ca.believer(alpn=["imap"]))
        *_, told = read_binary(server.accept())
        assert (told[0x01], told[0x02]) == (b"imap", b"a.example")
        # It came over TLS, and no certificate was verified.
        assert told[0x20][:5] == b"\x01\0\0\0\x01"
        within = extensions(told[0x20][5:])
        assert within[0x21] == b"TLSv1.3"
        assert within[0x23].decode() == asking.tls.cipher()[0]  # type: ignore[index]
        assert 0x22 not in within

    def test_who_the_client_has_proved_to_be(self) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files], "client_ca": str(ca.file)}
        running = telling(server, "v2").listener(protocol="tcp", tls=tls).start()
        raw(running, tls=ca.believer(of=ca.certificate("me.example"))).send(b"x")
        *_, told = read_binary(server.accept())
        assert told[0x20][:5] == b"\x07\0\0\0\0"
        assert extensions(told[0x20][5:])[0x22] == b"A test"

    def test_before_tls_begins(self) -> None:
        ca, server = authority(), scripted()
        running = telling(server, "v2", tls={"ca": str(ca.file)}).listener(protocol="tcp").start()
        asking = raw(running).send(b"hello")
        connection = server.accept()
        # No more than the header, since TLS reads the rest.
        header = connection.socket.recv(28, socket.MSG_WAITALL)
        assert header[24:26] == struct.pack(">H", own_port(asking))
        context = ca.server(ca.certificate("127.0.0.1"))
        connection.socket = context.wrap_socket(connection.socket, server_side=True)
        connection.expect_bytes(b"hello")

    def test_what_the_balancer_in_front_has_said(self) -> None:
        server = scripted()
        running = believing(telling(server, "v1"), protocol="tcp").start()
        raw(running).send(LINE + b"hello")
        server.accept().expect_bytes(LINE + b"hello")

    def test_each_client_of_http_has_connections_of_its_own(self) -> None:
        server = scripted()
        running = telling(server, "v1").start()
        first, second = raw(running).get("/1"), raw(running)
        connection = server.accept()
        assert f" {own_port(first)} ".encode() in read_line(connection)
        connection.expect_request("GET", "/1")
        connection.send(ok())
        first.expect_response(200)
        second.get("/2")
        another = server.accept()
        assert f" {own_port(second)} ".encode() in read_line(another)
        another.expect_request("GET", "/2")
        another.send(ok())
        second.expect_response(200)
        # The same client comes on the same connection again.
        first.get("/3")
        connection.expect_request("GET", "/3")
        connection.send(ok())
        first.expect_response(200)
        # It ends with its client, and no other does.
        first.close()
        connection.expect_closed()
        second.get("/4")
        another.expect_request("GET", "/4")
        another.send(ok())
        second.expect_response(200)

    @pytest.mark.parametrize(
        ("version", "expected"), [("v1", b"PROXY UNKNOWN\r\n"), ("v2", SIGNATURE + b"\x20\0\0\0")]
    )
    def test_probes_are_nobodys(self, version: str, expected: bytes) -> None:
        server = scripted()
        health = {"path": "/healthz", "interval_ms": 10_000}
        running = telling(server, version, health=health).start()
        connection = server.accept()
        connection.expect_bytes(expected)
        connection.expect_request("GET", "/healthz")
        connection.send(ok())
        eventually(lambda: running.verdict(server) == "healthy")

    def test_probes_that_only_connect_say_so_too(self) -> None:
        server = scripted()
        running = telling(server, "v2", health={"interval_ms": 10_000}).listener(protocol="tcp").start()
        assert server.accept().read_rest() == SIGNATURE + b"\x20\0\0\0"
        eventually(lambda: running.verdict(server) == "healthy")

    def test_prequal_asks_in_nobodys_name(self) -> None:
        server = scripted()
        running = telling(server, "v1", policy="prequal").start()
        raw(running).get("/")
        lines = []
        for _ in range(2):
            connection = server.accept()
            lines.append(read_line(connection)[:13])
        assert sorted(lines) == [b"PROXY TCP4 12", b"PROXY UNKNOWN"]


class TestPeers:
    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_nginx_understands(self, version: str) -> None:
        peer = nginx_told()
        running = telling(peer.address, version, health={"path": "/", "interval_ms": 10_000}).start()
        eventually(lambda: running.verdict(peer.address) == "healthy")
        asking = raw(running).get("/")
        assert asking.expect_response(200).body.decode() == f"127.0.0.1 {own_port(asking)}"

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_haproxy_understands(self, version: str) -> None:
        peer, _ = haproxy(
            "frontend f\n bind {socket} accept-proxy\n bind {port}\n"
            ' http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]"\n'
        )
        running = telling(peer.address, version, health={"path": "/", "interval_ms": 10_000}).start()
        eventually(lambda: running.verdict(peer.address) == "healthy")
        asking = raw(running).get("/")
        assert asking.expect_response(200).body.decode() == f"127.0.0.1 {own_port(asking)}"
        # Another client, on the same worker, is told apart.
        other = raw(running).get("/")
        assert other.expect_response(200).body.decode() == f"127.0.0.1 {own_port(other)}"

    def test_each_client_has_a_connection_of_http2_of_its_own(self) -> None:
        peer, _ = haproxy(
            "frontend f\n bind {socket} accept-proxy proto h2\n bind {port}\n"
            ' http-request return status 200 content-type text/plain lf-string "%[src_port]"\n'
        )
        # They would lie idle for longer than the test waits.
        never = {"idle_timeout_ms": None}
        running = telling(peer.address, "v2", protocol="h2c", connections=never).start()
        asking = [raw(running) for _ in range(3)]
        for _ in range(4):
            for one in asking:
                assert one.get("/").expect_response(200).body.decode() == str(own_port(one))
        assert running.endpoint(peer.address)["connections"] == 3
        for one in asking:
            one.close()
        eventually(lambda: running.endpoint(peer.address)["connections"] == 0)

    def test_haproxy_understands_what_tls_has_agreed_on(self) -> None:
        ca = authority()
        peer, _ = haproxy(
            "frontend f\n bind {socket} accept-proxy\n bind {port}\n"
            " http-request return status 200 content-type text/plain"
            ' lf-string "%[fc_pp_authority]"\n'
        )
        tls = {"certificates": [ca.certificate("a.example").files], "alpn": []}
        running = telling(peer.address, "v2").listener(protocol="tcp", tls=tls).start()
        asking = raw(running, tls=ca.believer()).get("/")
        assert asking.expect_response(200).body == b"a.example"

    @pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"])
    def test_haproxy_is_understood(self, how: str) -> None:
        running = believing(proxy().pool(origin().start())).start()
        _, front = haproxy(
            "frontend f\n bind {socket}\n bind {port}\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{running.port} {how}\n"
        )
        with socket.create_connection(front) as connection:
            connection.sendall(b"GET /echo HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            answer = Wire(connection).read_response()
        assert seen(answer.body, "x-forwarded-for") == ["127.0.0.1"]
        assert running.listener()["bad_requests"] == 0
