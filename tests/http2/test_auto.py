"""Endpoints that choose in the handshake: HTTP/2 where they agree on it, and HTTP/1.1 where not."""

import ssl
from collections.abc import Iterable
from typing import Any

import pytest

from language import (
    Authority,
    Plan,
    Raw,
    Scripted,
    ScriptedConnection,
    authority,
    eventually,
    in_background,
    keep,
    ok,
    proxy,
    raw,
    request,
    scripted,
    steady_load,
)
from language.http2 import NO_ERROR, REFUSED_STREAM, http2_client
from language.http2_origins import Http2Scripted, Http2Server, http2_origin, http2_scripted
from language.node import NodeServer

ONE_TRY = {"attempts": 1}


def context(ca: Authority, alpn: Iterable[str]) -> ssl.SSLContext:
    return ca.server(ca.certificate("127.0.0.1"), alpn=alpn)


def auto(ca: Authority, *endpoints: Any, **settings: Any) -> Plan:
    return proxy().pool(*endpoints, protocol="auto", tls={"ca": str(ca.file)}, **settings)


def older(ca: Authority, *alpn: str) -> Scripted:
    return scripted(tls=context(ca, alpn or ["http/1.1"]))


def newer(ca: Authority) -> Http2Scripted:
    return http2_scripted(tls=context(ca, ["h2", "http/1.1"]))


def agreed(connection: ScriptedConnection | Http2Server) -> str | None:
    assert isinstance(connection.socket, ssl.SSLSocket)
    return connection.socket.selected_alpn_protocol()


class TestWhatIsSpoken:
    def test_http2_where_both_know_it(self) -> None:
        ca = authority()
        server = newer(ca)
        running = auto(ca, server).start()
        asked = [in_background(running) for _ in range(10)]
        connection = server.accept()
        assert agreed(connection) == "h2"
        for _ in asked:
            connection.expect_request().respond(200, b"ok")
        assert {one.reply().status for one in asked} == {200}
        assert not server.is_called()
        running.expect_nothing_left()

    def test_http1_where_the_endpoint_knows_no_other(self) -> None:
        ca = authority()
        server = older(ca)
        running = auto(ca, server).start()
        connection = raw(running)
        for number in range(3):
            connection.get(f"/{number}")
            if number == 0:
                at_server = server.accept()
                assert agreed(at_server) == "http/1.1"
            at_server.expect_request(target=f"/{number}")
            at_server.send(ok())
            connection.expect_response(200)
        assert not server.is_called()

    def test_http1_where_nothing_is_agreed_on(self) -> None:
        ca = authority()
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1")))
        running = auto(ca, server).start()
        connection = raw(running).get()
        at_server = server.accept()
        assert agreed(at_server) is None
        at_server.expect_request()
        at_server.send(ok())
        connection.expect_response(200)

    def test_each_endpoint_as_it_chose(self) -> None:
        ca = authority()
        one, other = older(ca), http2_origin(tls=context(ca, ["h2"]))
        running = auto(ca, one, other, policy="round_robin").start()
        first = in_background(running)
        at_one = one.accept()
        at_one.expect_request()
        at_one.send(ok())
        assert first.reply().status == 200
        assert request(running).origin == other.name

    def test_as_it_chooses_after_a_restart(self) -> None:
        ca = authority()
        server = http2_scripted(tls=context(ca, ["h2", "http/1.1"]))
        running = auto(ca, server).start()

        def ask_over_2() -> Http2Server:
            asked = in_background(running)
            connection = server.accept()
            assert agreed(connection) == "h2"
            connection.expect_request().respond(200)
            assert asked.reply().status == 200
            return connection

        def ask_over_1_1() -> ScriptedConnection:
            asked = in_background(running)
            connection = keep(ScriptedConnection(tls.wrap_socket(server.accept_nothing(), server_side=True)))
            assert agreed(connection) == "http/1.1"
            connection.expect_request()
            connection.send(ok())
            assert asked.reply().status == 200
            return connection

        tls = context(ca, ["http/1.1"])
        ask_over_2().close()
        eventually(lambda: running.endpoint(server)["connections"] == 0)
        ask_over_1_1().close()
        ask_over_1_1().close()
        connection = ask_over_2()
        again = in_background(running)
        connection.expect_request().respond(200)
        assert again.reply().status == 200
        assert running.endpoint(server)["failures"] == 0


class TestTheFirstConnection:
    """When it turns out to be one of HTTP/1.1, it is used by whoever waited for it."""

    @pytest.mark.parametrize("idle_max", [0, 64])
    def test_is_not_wasted(self, idle_max: int) -> None:
        ca = authority()
        server = older(ca)
        running = auto(ca, server, connections={"idle_max": idle_max}).start()
        for _ in range(3):
            asked = in_background(running)
            if idle_max == 0 or server.is_called() or _ == 0:
                connection = server.accept()
            connection.expect_request()
            connection.send(ok())
            assert asked.reply().status == 200
        assert not server.is_called()
        eventually(lambda: running.endpoint(server)["connections"] == min(idle_max, 1))

    def test_is_no_reused_one(self) -> None:
        """What breaks under its first request is a failure of the endpoint, and not tried again by itself."""
        ca = authority()
        server = older(ca)
        running = auto(ca, server, retry=ONE_TRY).start()
        asked = in_background(running)
        connection = server.accept()
        connection.expect_request()
        connection.close()
        assert asked.reply().status == 502
        assert running.endpoint(server)["failures"] == 1
        assert not server.is_called()

    def test_a_second_request_on_it_is_one_on_a_reused_connection(self) -> None:
        ca = authority()
        server = older(ca)
        running = auto(ca, server, retry=ONE_TRY).start()
        first = in_background(running)
        connection = server.accept()
        connection.expect_request()
        connection.send(ok())
        assert first.reply().status == 200
        second = in_background(running)
        connection.expect_request()
        connection.close()
        again = server.accept()
        again.expect_request()
        again.send(ok(b"again"))
        assert second.reply().body == b"again"
        assert running.endpoint(server)["failures"] == 0

    def test_lies_idle_for_the_next_where_nobody_waits_any_more(self) -> None:
        ca = authority()
        tls = context(ca, ["http/1.1"])
        server = http2_scripted()
        running = auto(ca, server).start()
        leaves = raw(running).get("/leaves")
        shaking = server.accept_nothing()
        leaves.close()
        eventually(lambda: running.in_flight() == 0)
        connection = keep(ScriptedConnection(tls.wrap_socket(shaking, server_side=True)))
        eventually(lambda: running.endpoint(server)["idle_connections"] == 1)
        asked = in_background(running, "/next")
        connection.expect_request(target="/next")
        connection.send(ok())
        assert asked.reply().status == 200
        assert not server.is_called()

    def test_goes_to_one_of_many_and_the_others_open_their_own(self) -> None:
        ca = authority()
        server = older(ca)
        running = auto(ca, server).start()
        asked = [in_background(running) for _ in range(5)]
        connections = [server.accept() for _ in asked]
        for connection in connections:
            connection.expect_request()
        # All are on their way at once.
        for connection in connections:
            connection.send(ok())
        assert {one.reply().status for one in asked} == {200}
        assert not server.is_called()
        running.expect_nothing_left()

    def test_is_waited_for_at_the_bound_of_connections(self) -> None:
        ca = authority()
        server = older(ca)
        running = auto(ca, server, connections={"max": 1}).start()
        asked = [in_background(running) for _ in range(4)]
        connection = server.accept()
        for _ in asked:
            connection.expect_request()
            connection.send(ok())
        assert {one.reply().status for one in asked} == {200}
        assert not server.is_called()


def test_a_refused_stream_is_tried_elsewhere_whatever_it_asks() -> None:
    ca = authority()
    refusing, other = newer(ca), http2_origin(tls=context(ca, ["h2"]))
    running = auto(ca, refusing, other, policy="round_robin").start()
    asked = in_background(running, method="POST", body=b"once")
    refusing.accept().expect_request("POST").reset(REFUSED_STREAM)
    assert asked.reply().origin == other.name


def test_a_line_and_connections_give_way_to_each_other_at_the_bound() -> None:
    """An endpoint that chose HTTP/2 and now HTTP/1.1, with room for a single connection."""
    ca = authority()
    server = http2_scripted(tls=context(ca, ["h2"]))
    plan = auto(ca, server, connections={"max": 1})
    running = plan.start()
    asked = in_background(running)
    line = server.accept()
    line.expect_request().respond(200)
    assert asked.reply().status == 200
    running.apply(proxy().pool(server, tls={"ca": str(ca.file)}, connections={"max": 1}))
    line.expect_goaway(NO_ERROR)
    asked = in_background(running)
    line.expect_closed()
    connection = keep(
        ScriptedConnection(context(ca, ["http/1.1"]).wrap_socket(server.accept_nothing(), server_side=True))
    )
    connection.expect_request()
    connection.send(ok())
    assert asked.reply().status == 200


def test_a_connection_that_was_handed_on_under_rules_that_left_is_closed() -> None:
    ca = authority()
    tls = context(ca, ["http/1.1"])
    server, other = http2_scripted(), http2_origin()
    running = auto(ca, server).start()
    leaves: Raw = raw(running).get("/leaves")
    shaking = server.accept_nothing()
    running.apply(proxy().pool(other, protocol="h2c"))
    assert request(running).origin == other.name
    leaves.close()
    connection = keep(ScriptedConnection(tls.wrap_socket(shaking, server_side=True)))
    connection.expect_gone()


def test_streams_of_clients_go_over_connections_of_their_own_to_an_endpoint_of_1_1() -> None:
    ca = authority()
    server = older(ca)
    client = http2_client(auto(ca, server).start())
    streams = [client.open("GET", f"/{number}") for number in range(3)]
    for _ in streams:
        connection = server.accept()
        body = connection.expect_request().target.encode()
        connection.send(ok(body))
    bodies = [stream.expect_response(200).body for stream in streams]
    assert bodies == [b"/0", b"/1", b"/2"]


def test_reloads_with_other_rules_and_protocols_lose_nobody() -> None:
    ca = authority()
    server = keep(NodeServer("both", ca.certificate("127.0.0.1")))
    rules: list[dict[str, Any]] = [
        {"protocol": protocol, "tls": tls}
        for tls in ({"verify": False}, {"ca": str(ca.file)})
        for protocol in ("h2", "auto", "http1")
    ]

    def plan(turn: int) -> Plan:
        forever = {"idle_timeout_ms": None}
        return proxy().workers(2).pool(server, connections=forever, **rules[turn % len(rules)])

    running = plan(0).start()
    with steady_load(running, clients=16, path="/bytes/1000") as busy:
        for turn in range(1, 13):
            before = busy.completed
            running.apply(plan(turn))
            eventually(lambda before=before: busy.completed > before + 50)  # type: ignore[misc]
    busy.tally.expect_all(200)
    assert running.endpoint(server)["failures"] == 0
    running.expect_nothing_left()
    # Nothing is left of rules that are not in force: a worker has a connection or none.
    eventually(lambda: running.endpoint(server)["connections"] <= 2)
