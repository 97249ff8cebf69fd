"""Connections that are carried as they are, from their first byte to their last."""

import hashlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from language import (
    Running,
    ScriptedConnection,
    authority,
    endpoint,
    eventually,
    openssl_client,
    proxy,
    raw,
    refused_address,
    scripted,
)
from language.through import carrying, expect_reset, joined
from language.wire import response
from steelyard.config import POLICIES

MEBIBYTE = 1 << 20
EVERY_BYTE = bytes(range(256)) * 3


def expect_turned_away(running: Running) -> None:
    """A connection is reset, be it while it is being opened."""
    with pytest.raises(ConnectionResetError):
        raw(running).socket.recv(1)


def agreed_on(connection: ScriptedConnection) -> str | None:
    """What endpoint and proxy have agreed to speak over TLS."""
    assert isinstance(connection.socket, ssl.SSLSocket)
    return connection.socket.selected_alpn_protocol()


class TestBytes:
    def test_pass_both_ways_as_they_are(self) -> None:
        server = scripted()
        asking, connection = joined(carrying(server).start(), server)
        asking.send(EVERY_BYTE)
        connection.expect_bytes(EVERY_BYTE).send(EVERY_BYTE[::-1])
        asking.expect_bytes(EVERY_BYTE[::-1])

    def test_an_endpoint_may_speak_first(self) -> None:
        server = scripted()
        asking, connection = joined(carrying(server).start(), server)
        connection.send(b"220 ready\r\n")
        asking.expect_bytes(b"220 ready\r\n").send(b"EHLO a\r\n")
        connection.expect_bytes(b"EHLO a\r\n")

    def test_are_all_there_however_many(self) -> None:
        server = scripted()
        asking, connection = joined(carrying(server).start(), server)
        up, down = (hashlib.shake_128(one).digest(24 * MEBIBYTE) for one in (b"up", b"down"))
        sending = [
            threading.Thread(target=asking.send, args=(up,)),
            threading.Thread(target=connection.send, args=(down,)),
        ]
        got: list[bytes] = []
        reading = threading.Thread(target=lambda: got.append(connection.read_exactly(len(up))))
        for thread in [*sending, reading]:
            thread.start()
        assert asking.read_exactly(len(down)) == down
        for thread in [*sending, reading]:
            thread.join()
        assert got == [up]

    def test_wait_for_a_receiver_that_does_not_read(self) -> None:
        server = scripted()
        running = carrying(server).spawn()
        asking = raw(running, receive_bytes=16_384)
        connection = server.accept()
        before = running.resident_bytes_max()
        content = hashlib.shake_128(b"slow").digest(64 * MEBIBYTE)
        sending = threading.Thread(target=connection.send, args=(content,))
        sending.start()
        eventually(lambda: running.endpoint(server)["bytes_in"] > 0)
        assert asking.read_exactly(len(content)) == content
        sending.join()
        assert running.resident_bytes_max() - before < 8 * MEBIBYTE

    def test_are_counted(self) -> None:
        server = scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        assert running.endpoint(server)["in_flight"] == 1
        asking.send(b"x" * 1000).half_close()
        assert connection.read_rest() == b"x" * 1000
        connection.send(b"y" * 2000).close()
        assert asking.read_rest() == b"y" * 2000
        asking.close()
        running.expect_nothing_left()
        seen = running.endpoint(server)
        assert (seen["bytes_out"], seen["bytes_in"]) == (1000, 2000)
        assert (seen["requests"], seen["failures"]) == (1, 0)
        assert running.listener()["requests"] == 1

    def test_come_through_unix_sockets_too(self, tmp_path: Path) -> None:
        path, behind = tmp_path / "front.sock", tmp_path / "behind.sock"
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as asking:
            listening.bind(str(behind))
            listening.listen()
            plan = proxy().pool(f"unix:{behind}").listener(protocol="tcp", bind=[f"unix:{path}"])
            running = plan.start()
            asking.connect(str(path))
            connection, _ = listening.accept()
            with connection:
                asking.sendall(EVERY_BYTE)
                asking.shutdown(socket.SHUT_WR)
                assert connection.makefile("rb").read() == EVERY_BYTE
                connection.sendall(b"answer")
            assert asking.makefile("rb").read() == b"answer"
            running.expect_nothing_left()


class TestEnds:
    def test_a_client_that_has_said_all_still_hears_the_answer(self) -> None:
        server = scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        asking.send(b"question").half_close()
        assert connection.read_rest() == b"question"
        connection.send(b"answer")
        asking.expect_bytes(b"answer")
        assert running.in_flight() == 1
        connection.close()
        asking.expect_closed().close()
        running.expect_nothing_left()

    def test_an_endpoint_that_has_said_all_still_hears_the_client(self) -> None:
        server = scripted()
        asking, connection = joined(carrying(server).start(), server)
        connection.send(b"greeting").half_close()
        assert asking.read_rest() == b"greeting"
        asking.send(b"the rest").half_close()
        assert connection.read_rest() == b"the rest"

    def test_a_reset_is_passed_on_to_the_client(self) -> None:
        server = scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        connection.reset()
        expect_reset(asking)
        asking.close()
        running.expect_nothing_left()

    def test_a_reset_is_passed_on_to_the_endpoint(self) -> None:
        server = scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        asking.reset()
        expect_reset(connection)
        running.expect_nothing_left()
        assert running.endpoint(server)["failures"] == 0

    def test_what_an_endpoint_said_before_it_closed_arrives_though_the_client_goes_on(self) -> None:
        server = scripted()
        running = carrying(server).start()
        asking, connection = joined(running, server)
        answer = b"enough" * 1000
        connection.send(answer).close()
        assert asking.read_exactly(len(answer)) == answer

        def is_told() -> bool:
            try:
                asking.send(b"more" * 10_000)
            except ConnectionError:
                return True
            return False

        eventually(is_told, "the client hears that nobody listens")
        running.expect_nothing_left()

    def test_one_in_which_nothing_moves_ends(self) -> None:
        server = scripted()
        running = carrying(server, timeouts={"tunnel_ms": 300}).start()
        asking, connection = joined(running, server)
        asking.send(b"x")
        connection.expect_bytes(b"x")
        asking.expect_closed()
        connection.expect_closed()
        running.expect_nothing_left()

    def test_one_in_which_something_moves_goes_on(self) -> None:
        server = scripted()
        running = carrying(server, timeouts={"tunnel_ms": 2_000}).start()
        asking, connection = joined(running, server)
        begun_s = running.status()["uptime_s"]
        while running.status()["uptime_s"] < begun_s + 3:
            asking.send(b"x")
            connection.expect_bytes(b"x")
            running.expect_to_live_on(0.1)

    def test_the_whole_time_may_be_bounded(self) -> None:
        server = scripted()
        asking, connection = joined(carrying(server, timeouts={"total_ms": 300}).start(), server)
        connection.expect_closed()
        asking.expect_closed()

    def test_what_that_time_cuts_short_does_not_look_whole(self) -> None:
        server = scripted()
        asking, connection = joined(carrying(server, timeouts={"total_ms": 500}).start(), server)
        connection.socket.sendall(b"half of it")
        asking.expect_bytes(b"half of it")
        expect_reset(asking)


class TestEndpoints:
    # sticky takes cookies, and prequal asks endpoints for their loads over HTTP, which these do not speak.
    @pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"sticky", "prequal"}))
    def test_any_policy_chooses(self, policy: str) -> None:
        servers = [scripted() for _ in range(3)]
        keyed = policy in ("ring_hash", "maglev", "rendezvous", "bounded_hash")
        chosen: dict[str, Any] = {"name": policy, **({"key": "address"} if keyed else {})}
        running = carrying(*servers, policy=chosen).start()
        for _ in range(3):
            asking = raw(running).send(b"x")
            eventually(lambda: any(one.is_called() for one in servers))
            (server,) = [one for one in servers if one.is_called()]
            connection = server.accept()
            connection.expect_bytes(b"x").close()
            asking.expect_closed().close()
            running.expect_nothing_left()

    def test_a_client_stays_with_one_by_its_address(self) -> None:
        servers = [scripted() for _ in range(4)]
        policy = {"name": "maglev", "key": "address"}
        running = carrying(*servers, policy=policy).start()
        for _ in range(8):
            raw(running).send(b"x")
        eventually(lambda: running.in_flight() == 8)
        assert sorted(running.endpoint(one)["in_flight"] for one in servers) == [0, 0, 0, 8]

    def test_one_that_refuses_is_passed_over(self) -> None:
        refusing, server = refused_address(), scripted()
        running = carrying(refusing, server, policy="round_robin", retry={"attempts": 1}).start()
        for _ in range(2):
            asking, connection = joined(running, server)
            asking.send(b"x")
            connection.expect_bytes(b"x")
        # It keeps its turn.
        assert running.endpoint(refusing)["failures"] == 2
        assert running.endpoint(server)["retries"] == 2

    def test_where_all_refuse_the_client_is_reset(self) -> None:
        refusing = [refused_address() for _ in range(3)]
        running = carrying(*refusing).start()
        expect_turned_away(running)
        assert [running.endpoint(one)["failures"] for one in refusing] == [1, 1, 1]
        running.expect_nothing_left()

    def test_none_is_tried_again_where_that_is_not_wanted(self) -> None:
        refusing, server = refused_address(), scripted()
        running = carrying(refusing, server, policy="round_robin", retry={"on": []}).start()
        expect_turned_away(running)
        joined(running, server)

    def test_none_is_tried_again_once_one_has_accepted(self) -> None:
        first, second = scripted(), scripted()
        running = carrying(first, second, policy="round_robin").start()
        asking, connection = joined(running, first)
        connection.reset()
        expect_reset(asking)
        assert running.endpoint(second)["requests"] == 0

    def test_one_that_drains_keeps_what_it_has(self) -> None:
        first, second = scripted(), scripted()
        running = carrying(first, second, policy="round_robin").start()
        asking, connection = joined(running, first)
        running.apply(carrying(endpoint(first, drain=True), second, policy="round_robin"))
        for _ in range(3):
            joined(running, second)
        asking.send(b"x")
        connection.expect_bytes(b"x")

    def test_their_number_of_connections_is_bounded(self) -> None:
        server = scripted()
        running = carrying(server, connections={"max": 1}).start()
        first, connection = joined(running, server)
        second = raw(running).send(b"second")
        eventually(lambda: running.endpoint(server)["in_flight"] == 2)
        assert not server.is_called()
        connection.close()
        first.expect_closed().close()
        server.accept().expect_bytes(b"second")
        second.close()


class TestLoad:
    def test_a_connection_is_in_flight_until_it_ends(self) -> None:
        busy, free = scripted(), scripted()
        running = carrying(busy, free, policy="round_robin", threshold={"requests": 1}).start()
        joined(running, busy)
        asking, connection = joined(running, free)
        connection.close()
        asking.close()
        eventually(lambda: running.in_flight() == 1)
        joined(running, free)

    def test_bytes_take_an_endpoint_out(self) -> None:
        busy, free = scripted(), scripted()
        threshold = {"bytes_per_second": 100_000}
        running = carrying(busy, free, policy="round_robin", threshold=threshold).start()
        asking, connection = joined(running, busy)
        asking.send(bytes(4 * MEBIBYTE))
        connection.read_exactly(4 * MEBIBYTE)
        eventually(lambda: running.endpoint(busy)["over_threshold"] == "bytes_per_second")
        for _ in range(3):
            joined(running, free)

    def test_one_waits_until_another_has_ended(self) -> None:
        server = scripted()
        running = carrying(server, threshold={"requests": 1}).start()
        first, connection = joined(running, server)
        second = raw(running).send(b"said already").half_close()
        eventually(lambda: running.pool()["queued"] == 1)
        connection.close()
        first.expect_closed().close()
        connection = server.accept()
        assert connection.read_rest() == b"said already"
        connection.send(b"answer").close()
        assert second.read_rest() == b"answer"

    def test_one_that_may_not_wait_is_reset(self) -> None:
        server = scripted()
        running = carrying(server, threshold={"requests": 1}, queue={"size": None}).start()
        joined(running, server)
        expect_turned_away(running)

    def test_one_that_has_waited_for_too_long_is_reset(self) -> None:
        server = scripted()
        running = carrying(server, threshold={"requests": 1}, queue={"timeout_ms": 50}).start()
        joined(running, server)
        expect_turned_away(running)
        assert running.pool()["queue_timeouts"] == 1

    def test_one_that_is_gone_waits_no_more(self) -> None:
        server = scripted()
        running = carrying(server, threshold={"requests": 1}).start()
        joined(running, server)
        waiting = raw(running)
        eventually(lambda: running.pool()["queued"] == 1)
        waiting.reset()
        eventually(lambda: running.pool()["queued"] == 0)
        assert running.in_flight() == 1

    def test_the_listener_takes_so_many(self) -> None:
        server = scripted()
        plan = proxy().pool(server).listener(protocol="tcp", limits={"connections": 1})
        running = plan.start()
        asking, connection = joined(running, server)
        waiting = raw(running).send(b"x")
        assert running.listener()["connections"] == 1
        connection.close()
        asking.expect_closed().close()
        server.accept().expect_bytes(b"x")
        waiting.close()


class TestRoutes:
    def test_connections_can_be_split(self) -> None:
        old, new = scripted(), scripted()
        plan = proxy().pool(old, name="old").pool(new, name="new").listener(protocol="tcp", pool=None)
        running = plan.route(listener="web", split={"old": 1, "new": 1}).start()
        asking = [raw(running).send(b"x") for _ in range(40)]
        eventually(lambda: running.in_flight() == len(asking))
        shares = [running.endpoint(old, "old")["in_flight"], running.endpoint(new, "new")["in_flight"]]
        assert min(shares) > 5, shares

    def test_those_of_http_listeners_pass_it_by(self) -> None:
        server, other = scripted(), scripted()
        plan = proxy().pool(server).pool(other, name="other")
        plan = plan.listener(protocol="tcp").listener("http").route(pool="other")
        joined(plan.start(), server)


class TestTls:
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_towards_clients(self, version: str) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files], "alpn": []}
        running = proxy().pool(server).listener(protocol="tcp", tls=tls).start()
        asking = raw(running, tls=ca.believer(version=version, alpn=["h2", "http/1.1"]))
        assert asking.tls.selected_alpn_protocol() is None
        connection = server.accept()
        asking.send(EVERY_BYTE)
        connection.expect_bytes(EVERY_BYTE).send(b"answer")
        asking.expect_bytes(b"answer").end_tls()
        connection.expect_closed()

    def test_what_is_spoken_within_can_be_agreed_on(self) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files], "alpn": ["imap"]}
        running = proxy().pool(server).listener(protocol="tcp", tls=tls).start()
        asking = raw(running, tls=ca.believer(alpn=["imap"]))
        assert asking.tls.selected_alpn_protocol() == "imap"

    def test_an_end_that_was_not_announced_is_passed_on_as_one(self) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files]}
        running = proxy().pool(server).listener(protocol="tcp", tls=tls).start()
        asking = raw(running, tls=ca.believer()).send(b"x")
        connection = server.accept()
        connection.expect_bytes(b"x")
        asking.close()
        expect_reset(connection)

    def test_a_client_in_clear_text_gets_nowhere(self) -> None:
        ca, server = authority(), scripted()
        tls = {"certificates": [ca.certificate("a.example").files]}
        running = proxy().pool(server).listener(protocol="tcp", tls=tls).start()
        raw(running).send(b"GET / HTTP/1.1\r\n\r\n").expect_gone()
        assert not server.is_called()

    def test_towards_endpoints(self) -> None:
        ca = authority()
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1")))
        running = carrying(server, tls={"ca": str(ca.file)}).start()
        asking = raw(running)
        connection = server.accept()
        # It may speak first, which takes a handshake that waits for nothing.
        connection.send(b"220 ready\r\n")
        asking.expect_bytes(b"220 ready\r\n").send(EVERY_BYTE)
        connection.expect_bytes(EVERY_BYTE)
        asking.half_close()
        connection.expect_closed()

    def test_no_protocol_is_offered_to_endpoints(self) -> None:
        """One that takes it for HTTP, or refuses whoever offers that, would not hear what is carried."""
        ca = authority()
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1"), alpn=["http/1.1"]))
        running = carrying(server, tls={"ca": str(ca.file)}).start()
        asking = raw(running).send(b"hello")
        assert agreed_on(server.accept().expect_bytes(b"hello")) is None
        asking.close()
        # Nor by those who look after its health.
        health = {"interval_ms": 1_000, "timeout_ms": 1_000}
        running.apply(carrying(server, tls={"ca": str(ca.file)}, health=health))
        assert agreed_on(server.accept()) is None

    def test_where_requests_come_too_they_agree_on_theirs(self) -> None:
        ca = authority()
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1"), alpn=["http/1.1"]))
        plan = proxy().pool(server, tls={"ca": str(ca.file)}).listener("http").listener("tcp", protocol="tcp")
        running = plan.start()
        asking = raw(running, listener="http").get()
        connection = server.accept()
        assert agreed_on(connection) == "http/1.1"
        connection.expect_request()
        connection.send(response(200))
        asking.expect_response(200)
        raw(running, listener="tcp").send(b"hello")
        assert agreed_on(server.accept().expect_bytes(b"hello")) is None

    def test_an_endpoint_that_cannot_prove_who_it_is_gets_nothing(self) -> None:
        ca, stranger = authority(), authority()
        server = scripted(tls=stranger.server(stranger.certificate("127.0.0.1")))
        running = carrying(server, tls={"ca": str(ca.file)}).start()
        asking = raw(running).send(b"secret")
        with pytest.raises(ssl.SSLError):
            server.accept()
        expect_reset(asking)
        assert running.endpoint(server)["failures"] == 1

    def test_through_and_through_with_openssl(self) -> None:
        ca = authority()
        pair = ca.certificate("a.example", "127.0.0.1")
        server = scripted(tls=ca.server(pair))
        plan = proxy().pool(server, tls={"ca": str(ca.file)})
        running = plan.listener(protocol="tcp", tls={"certificates": [pair.files]}).start()
        peer = openssl_client(running, ca, "-servername", "a.example", "-quiet")
        peer.say("question\n")
        connection = server.accept()
        connection.expect_bytes(b"question\n").send(b"answer\n")
        peer.expect("answer")
