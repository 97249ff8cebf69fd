"""How streams and connections of HTTP/3 end: by either side, told beforehand, with every answer."""

import signal
from typing import Any

from language import (
    Plan,
    Running,
    Scripted,
    ScriptedConnection,
    authority,
    eventually,
    ok,
    origin,
    proxy,
    scripted,
)
from language.datagrams import free_address
from language.http3 import (
    INTERNAL_ERROR,
    NO_ERROR,
    REQUEST_REJECTED,
    Http3Client,
    Stream,
    http3_begun,
    http3_client,
    speaking,
)

LAST_STREAM = (1 << 62) - 4
CONNECTION_REFUSED = 0x2


def facing(**pool: Any) -> tuple[Scripted, Running, Http3Client]:
    """An endpoint that the test plays, the proxy before it, and a connection to that."""
    ca = authority()
    server = scripted()
    running = speaking(proxy().pool(server, **pool), ca).start()
    return server, running, http3_client(running, ca)


def opened(h3: Http3Client, server: Scripted) -> tuple[Stream, ScriptedConnection]:
    """A stream whose request has reached the endpoint."""
    asked = h3.open()
    connection = server.accept()
    connection.expect_request()
    return asked, connection


def answering(h3: Http3Client, server: Scripted) -> tuple[Stream, ScriptedConnection]:
    """One whose answer has come in part."""
    asked, connection = opened(h3, server)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    asked.expect_bytes(3)
    return asked, connection


def expect_let_go(running: Running, server: Scripted, asked: Stream, connection: ScriptedConnection) -> None:
    """Giving up on a request frees its endpoint."""
    asked.cancel()
    connection.expect_closed()
    eventually(lambda: running.in_flight() == 0)
    # It was the client's doing.
    assert running.endpoint(server)["failures"] == 0


def expect_the_rest(h3: Http3Client, asked: Stream, connection: ScriptedConnection) -> None:
    """What was begun is answered in full, and then the connection ends."""
    connection.send(ok(b"whole"))
    assert asked.expect_response(200).body == b"whole"
    h3.expect_closed(NO_ERROR)


class TestStreams:
    def test_a_request_that_its_client_gives_up_on_frees_its_endpoint(self) -> None:
        server, running, h3 = facing()
        asked, connection = opened(h3, server)
        expect_let_go(running, server, asked, connection)
        assert h3.closed is None

    def test_one_that_is_given_up_on_within_its_content_does_too(self) -> None:
        server, running, h3 = facing()
        asked = h3.open("POST", end=False).send(b"abc")
        connection = server.accept()
        connection.expect_request_head()
        assert connection.read_exactly(8) == b"3\r\nabc\r\n"
        expect_let_go(running, server, asked, connection)

    def test_one_that_is_given_up_on_within_its_answer_does_too(self) -> None:
        server, running, h3 = facing()
        asked, connection = answering(h3, server)
        expect_let_go(running, server, asked, connection)

    def test_one_that_waits_in_the_queue_leaves_it(self) -> None:
        _, running, h3 = facing(threshold={"requests": 1})
        h3.open()
        waits = h3.open()
        eventually(lambda: running.pool()["queued"] == 1)
        waits.cancel()
        eventually(lambda: running.pool()["queued"] == 0)

    def test_an_answer_that_is_cut_short_resets_its_stream_alone(self) -> None:
        server, running, h3 = facing()
        asked, connection = answering(h3, server)
        connection.close()
        asked.expect_reset(INTERNAL_ERROR)
        other = h3.open()
        again = server.accept()
        again.expect_request()
        again.send(ok())
        other.expect_response(200)
        assert running.endpoint(server)["failures"] == 1

    def test_an_early_answer_ends_the_request(self) -> None:
        server, _, h3 = facing()
        asked = h3.open("POST", end=False).send(b"abc")
        connection = server.accept()
        connection.expect_request_head()
        connection.send(ok(b"enough"))
        assert asked.expect_response(200).body == b"enough"
        h3.until(lambda: asked.got.stopped is not None, "an end of the request")
        assert asked.got.stopped == NO_ERROR

    def test_a_client_that_goes_away_takes_its_streams_along(self) -> None:
        server, running, h3 = facing()
        for _ in range(5):
            h3.open()
        connections = [server.accept() for _ in range(5)]
        for connection in connections:
            connection.expect_request()
        h3.leave()
        for connection in connections:
            connection.expect_closed()
        running.expect_nothing_left()


class TestConnections:
    def test_a_drain_lets_streams_end_and_says_so_beforehand(self) -> None:
        server, running, h3 = facing()
        asked, connection = opened(h3, server)
        running.stop()
        # Nothing is refused yet: a request may be on its way.
        assert h3.expect_goaway() == LAST_STREAM
        late, later = opened(h3, server)
        later.send(ok(b"still"))
        assert late.expect_response(200).body == b"still"
        expect_the_rest(h3, asked, connection)
        running.expect_stopped()

    def test_a_drain_waits_for_no_handshake(self) -> None:
        ca = authority()
        plan = speaking(proxy().pool(origin()), ca, timeouts={"handshake_ms": 120_000})
        running = plan.drain_timeout(120_000).start()
        http3_begun(running, ca).begin()
        eventually(lambda: running.listener()["connections"] == 1)
        running.stop()
        running.expect_stopped()

    def test_who_comes_while_it_drains_is_told_so_at_once(self) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().pool(server), ca).start()
        h3 = http3_client(running, ca)
        asked, connection = opened(h3, server)
        running.stop()
        h3.expect_goaway()
        http3_begun(running, ca).begin().expect_closed(CONNECTION_REFUSED)
        expect_the_rest(h3, asked, connection)
        running.expect_stopped()

    def test_a_drain_does_not_cut_a_large_answer_short(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).start()
        h3 = http3_client(running, ca)
        asked = h3.open("GET", "/bytes/5000000")
        asked.expect_head()
        running.stop()
        assert len(asked.expect_response(200).body) == 5_000_000
        h3.expect_closed(NO_ERROR)
        running.expect_stopped()

    def test_workers_that_are_done_take_no_packets_from_the_others(self) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().workers(3).pool(server), ca).start()
        pairs = []
        for _ in range(12):
            h3 = http3_client(running, ca)
            asked, connection = opened(h3, server)
            pairs.append((h3, asked, connection))
        running.stop()
        for left, (h3, asked, connection) in zip(reversed(range(12)), pairs, strict=True):
            h3.expect_goaway()
            connection.send(ok(b"x" * 300_000))
            assert len(asked.expect_response(200).body) == 300_000
            h3.until(lambda left=left: running.listener()["connections"] == left, "its end")
        running.expect_stopped()

    def test_a_client_hears_which_request_was_the_last(self) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().pool(server), ca).drain_timeout(4_000).start()
        h3 = http3_client(running, ca)
        asked, connection = opened(h3, server)
        running.stop()
        h3.until(lambda: h3.goaway == asked.number + 4, "the last GOAWAY")
        late = h3.open()
        late.expect_reset(REQUEST_REJECTED)
        expect_the_rest(h3, asked, connection)
        running.expect_stopped()

    def test_a_process_that_drains_ends_by_itself(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).drain_timeout(2_000).spawn()
        h3 = http3_client(running, ca)
        assert h3.get().status == 200
        running.send_signal(signal.SIGTERM)
        h3.expect_closed(NO_ERROR)
        assert running.expect_exit() == 0

    def test_a_listener_that_speaks_it_no_more_ends_its_connections(self) -> None:
        ca = authority()
        server = scripted()
        plan = speaking(proxy().pool(server), ca)
        running = plan.start()
        h3 = http3_client(running, ca)
        asked, connection = opened(h3, server)
        running.apply(speaking(proxy().pool(server), ca, http3=False))
        h3.expect_goaway()
        expect_the_rest(h3, asked, connection)
        assert running.listener()["http3"] is None
        # And again, on the same port.
        running.apply(plan)
        again = http3_client(running, ca).open()
        fresh = server.accept() if server.is_called() else connection
        fresh.expect_request()
        fresh.send(ok())
        again.expect_response(200)

    def test_one_that_is_renamed_serves_whoever_comes_while_the_old_connections_last(self) -> None:
        """The kernel brings newcomers to the sockets of those as well, for as long as they are needed."""
        ca = authority()
        server, other = scripted(), origin()
        bind = [free_address()]
        running = speaking(proxy().workers(2).pool(server), ca, bind=bind).start()
        h3 = http3_client(running, ca)
        asked, connection = opened(h3, server)
        renamed = proxy().workers(2).pool(other)
        running.apply(speaking(renamed, ca, name="renamed", bind=bind))
        h3.expect_goaway()
        newcomers = [http3_client(running, ca, "renamed") for _ in range(16)]
        assert {one.get().origin for one in newcomers} == {other.name}
        assert running.listener("renamed")["http3"]["accepted"] == 16
        expect_the_rest(h3, asked, connection)
        # They hear of the end of theirs, though its sockets stay.
        again = proxy().workers(2).pool(other)
        running.apply(speaking(again, ca, name="again", bind=bind))
        for one in newcomers:
            one.expect_goaway()

    def test_an_address_that_comes_back_while_its_last_streams_end_is_there_for_all(self) -> None:
        ca = authority()
        server, one = scripted(), origin()

        def plan(*, http3: bool) -> Plan:
            pools = proxy().pool(server).pool(one, name="other").route(path="/other", pool="other")
            return speaking(pools, ca, http3=http3)

        running = plan(http3=True).start()
        stays = http3_client(running, ca)
        opened(stays, server)
        running.apply(plan(http3=False))
        stays.expect_goaway()
        running.apply(plan(http3=True))
        # The kernel brings some of these to the socket that is about to go.
        assert [http3_client(running, ca).get("/other").status for _ in range(12)] == [200] * 12

    def test_a_reload_takes_effect_on_the_next_stream(self) -> None:
        ca = authority()
        first, second = origin(), origin()
        running = speaking(proxy().pool(first), ca).start()
        h3 = http3_client(running, ca)
        assert h3.get().origin == first.name
        running.apply(speaking(proxy().pool(second), ca))
        assert h3.get().origin == second.name
        assert h3.goaway is None

    def test_one_that_waits_for_an_answer_is_not_idle(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin().slow(700)), ca, timeouts={"idle_ms": 200}).start()
        h3 = http3_client(running, ca)
        assert h3.get().status == 200
        assert h3.goaway is None

    def test_an_idle_connection_is_told_to_end(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca, timeouts={"idle_ms": 200}).start()
        h3 = http3_client(running, ca)
        assert h3.get().status == 200
        h3.expect_goaway()
        h3.expect_closed(NO_ERROR)
        # It has had the time to hear which request was the last.
        assert h3.goaway == 4
        running.expect_nothing_left()

    def test_a_client_that_moves_is_served_on(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).start()
        h3 = http3_client(running, ca)
        assert h3.get().status == 200
        h3.move()
        assert h3.get().status == 200
        assert running.listener()["http3"]["accepted"] == 1

    def test_one_that_comes_to_another_worker_is_told_that_nobody_knows_it_there(self) -> None:
        ca = authority()
        h3 = http3_client(speaking(proxy().workers(4).pool(origin()), ca).start(), ca)
        assert h3.get().status == 200
        token = h3.quic._peer_cid.stateless_reset_token
        assert len(token) == 16

        def is_told(number: int) -> bool:
            h3.move().quic.send_ping(number)
            h3.flush()
            return h3.expect_packet().endswith(token)

        assert any(is_told(number) for number in range(40))

    def test_an_address_that_packets_pretend_is_not_believed(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca, trusted_proxies=["127.0.0.2/32"]).start()
        h3 = http3_client(running, ca)
        assert h3.get("/echo").seen("x-forwarded-for") == ["127.0.0.1"]
        reply = h3.move("127.0.0.2").get("/echo", headers={"x-forwarded-for": "10.9.9.9"})
        assert reply.seen("x-forwarded-for") == ["127.0.0.1"]
