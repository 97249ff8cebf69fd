"""Where a connection goes by the name that a client asks for, in TLS that passes through."""

import contextlib
import ssl
import struct
import threading
from collections.abc import Callable

import pytest

from language import (
    Authority,
    Plan,
    Raw,
    Running,
    Scripted,
    authority,
    eventually,
    names_of,
    openssl_client,
    proxy,
    raw,
    scripted,
)

PLAIN = b"SSH-2.0-OpenSSH_9.2\r\n"


def first_flight(name: str | None, **how: str) -> bytes:
    """What a client sends before it has heard anything."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version := how.get("version"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(flight: bytes, size: int) -> bytes:
    """The same hello in records of so many bytes."""
    (length,) = struct.unpack(">H", flight[3:5])
    hello = flight[5 : 5 + length]
    parts = [hello[at : at + size] for at in range(0, len(hello), size)]
    return b"".join(flight[:3] + struct.pack(">H", len(part)) + part for part in parts)


class Names:
    """Three pools behind one listener: `a.example`, all below `b.example`, and the rest."""

    def __init__(self, tls: Authority | None = None, **settings: object) -> None:
        def server(name: str) -> Scripted:
            return scripted(tls=tls and tls.server(tls.certificate(name)))

        self.exact, self.below, self.rest = server("a.example"), server("x.b.example"), server("c.example")
        plan = (
            proxy().pool(self.exact, name="exact").pool(self.below, name="below").pool(self.rest, name="rest")
        )
        plan.listener(protocol="tcp", pool="rest", **settings)  # type: ignore[arg-type]
        plan.route(listener="web", host="a.example", pool="exact")
        self.plan: Plan = plan.route(listener="web", host="*.b.example", pool="below")
        self.running: Running = self.plan.start()

    def expect(self, sent: bytes, server: Scripted) -> Raw:
        asking = raw(self.running).send(sent)
        server.accept().expect_bytes(sent)
        return asking


class TestNames:
    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_decide(self, version: str) -> None:
        names = Names()
        names.expect(first_flight("a.example", version=version), names.exact)
        names.expect(first_flight("A.Example", version=version), names.exact)
        names.expect(first_flight("x.b.example", version=version), names.below)
        names.expect(first_flight("y.x.b.example", version=version), names.below)
        names.expect(first_flight("b.example", version=version), names.rest)
        names.expect(first_flight("other.example", version=version), names.rest)

    def test_who_asks_for_none_goes_to_the_pool_of_the_listener(self) -> None:
        names = Names()
        names.expect(first_flight(None), names.rest)

    def test_so_does_who_speaks_no_tls(self) -> None:
        names = Names()
        names.expect(PLAIN, names.rest)

    def test_without_such_a_pool_nobody_is_served(self) -> None:
        server = scripted()
        plan = proxy().pool(server).listener(protocol="tcp", pool=None)
        running = plan.route(listener="web", host="a.example", pool="app").start()
        for sent in (first_flight("b.example"), first_flight(None), PLAIN):
            raw(running).send(sent).expect_gone()
        assert not server.is_called()
        assert running.listener()["bad_requests"] == 0

    def test_the_handshake_is_with_the_endpoint(self) -> None:
        ca = authority()
        names = Names(ca)
        context = ca.believer()
        for name, server in (("a.example", names.exact), ("x.b.example", names.below)):
            asking = raw_in_background(names.running, context, name)
            connection = server.accept()
            assert names_of(asking().tls.getpeercert()) == {name}
            asking().send(b"hello")
            connection.expect_bytes(b"hello")

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_of_openssl(self, version: str) -> None:
        ca = authority()
        names = Names(ca)
        peer = openssl_client(names.running, ca, version, "-quiet")
        connection = names.exact.accept()
        peer.say("question\n")
        connection.expect_bytes(b"question\n").send(b"answer\n")
        peer.expect("answer")

    def test_where_tls_ends_here_they_decide_too(self) -> None:
        ca = authority()
        certificate = ca.certificate("a.example", "x.b.example", "c.example")
        names = Names()
        running = proxy_ending_tls(names, certificate.files)
        for name, server in (
            ("a.example", names.exact),
            ("x.b.example", names.below),
            ("c.example", names.rest),
        ):
            raw(running, tls=ca.believer(), name=name).send(b"hello")
            server.accept().expect_bytes(b"hello")


def raw_in_background(running: Running, context: ssl.SSLContext, name: str) -> Callable[[], Raw]:
    """A client whose handshake goes on while the test plays the endpoint."""
    found: list[Raw] = []
    thread = threading.Thread(target=lambda: found.append(raw(running, tls=context, name=name)))
    thread.start()

    def asking() -> Raw:
        thread.join()
        return found[0]

    return asking


def proxy_ending_tls(names: Names, files: dict[str, str]) -> Running:
    plan = (
        proxy().pool(names.exact, name="exact").pool(names.below, name="below").pool(names.rest, name="rest")
    )
    plan.listener(protocol="tcp", pool="rest", tls={"certificates": [files], "alpn": []})
    plan.route(listener="web", host="a.example", pool="exact")
    return plan.route(listener="web", host="*.b.example", pool="below").start()


class TestHellos:
    def test_may_come_a_byte_at_a_time(self) -> None:
        names, flight = Names(), first_flight("a.example")
        asking = raw(names.running)
        for index in range(len(flight)):
            asking.send(flight[index : index + 1])
        names.exact.accept().expect_bytes(flight)

    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_may_come_in_many_records(self, size: int) -> None:
        names = Names()
        names.expect(in_records(first_flight("a.example"), size), names.exact)

    def test_what_follows_is_not_lost(self) -> None:
        names = Names()
        flight = first_flight("a.example") + b"\x14\x03\x03\x00\x01\x01" + bytes(100_000)
        names.expect(flight, names.exact)

    @pytest.mark.parametrize(
        "said",
        [
            b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x02\x00\x00\x10" + bytes(16),
            first_flight("a.example").replace(b"a.example", b"a\0exampl."),
            b"".join(b"\x16\x03\x01\x00\x04" + part for part in [b"\x01\x00\x3f\xff", *[bytes(4)] * 2_000]),
        ],
    )
    def test_that_are_none_end_the_connection(self, said: bytes) -> None:
        names = Names()
        raw(names.running).send(said).expect_gone()
        assert names.running.listener()["bad_requests"] == 1
        assert not any(one.is_called() for one in (names.exact, names.below, names.rest))
        names.running.expect_nothing_left()

    @pytest.mark.parametrize("count", [0, 1, 100])
    def test_are_not_awaited_for_ever(self, count: int) -> None:
        names = Names(timeouts={"handshake_ms": 500})
        asking = raw(names.running)
        # On a machine that is busy the time may be over by now.
        with contextlib.suppress(ConnectionError):
            asking.send(first_flight("a.example")[:count])
        asking.expect_gone()
        names.running.expect_nothing_left()

    def test_that_end_too_soon(self) -> None:
        names = Names()
        raw(names.running).send(first_flight("a.example")[:50]).half_close().expect_gone()
        names.running.expect_nothing_left()

    def test_hold_up_no_stop(self) -> None:
        names = Names()
        asking = raw(names.running).send(first_flight("a.example")[:50])
        eventually(lambda: names.running.listener()["connections"] == 1)
        names.running.stop()
        names.running.expect_stopped()
        asking.expect_gone()

    def test_behind_a_proxy_header(self) -> None:
        names = Names(proxy_protocol=True, trusted_proxies=["127.0.0.1"])
        flight = first_flight("a.example")
        raw(names.running).send(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n" + flight)
        names.exact.accept().expect_bytes(flight)

    def test_are_told_of(self) -> None:
        server = scripted()
        plan = proxy().pool(server, send_proxy="v2").listener(protocol="tcp", pool=None)
        running = plan.route(listener="web", host="a.example", pool="app").start()
        flight = first_flight("a.example")
        raw(running).send(flight)
        connection = server.accept()
        header = connection.read_exactly(16)
        rest = connection.read_exactly(struct.unpack(">H", header[14:])[0])
        assert rest[12:] == b"\x02\x00\x09a.example"
        connection.expect_bytes(flight)
