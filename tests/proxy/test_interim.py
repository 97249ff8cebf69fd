"""Responses before the response: 100, 103 and 101."""

import contextlib

import pytest

from language import ok, origin, proxy, raw, scripted
from language.wire import PATIENCE_S, Wire

EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"


class TestContinue:
    def test_is_the_endpoints_to_say(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(EXPECTING)
        connection = server.accept()
        assert (connection.expect_request_head("POST").get("expect") or "").lower() == "100-continue"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        asking.expect_interim(100)
        asking.send(b"abc")
        connection.expect_bytes(b"abc")
        connection.send(ok())
        asking.expect_response(200)
        asking.get()
        connection.expect_request()
        connection.send(ok())
        asking.expect_response(200)

    def test_is_not_waited_for_by_an_impatient_client(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(EXPECTING + b"abc")
        connection = server.accept()
        connection.expect_request_head("POST")
        connection.expect_bytes(b"abc")
        connection.send(ok())
        asking.expect_response(200)

    def test_may_be_refused(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(EXPECTING)
        connection = server.accept()
        connection.expect_request_head("POST")
        connection.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        answer = asking.expect_response(417)
        # The client may send its body all the same, so what follows must never be read as a request.
        assert answer.asks_to_close
        asking.send(b"GET")
        asking.expect_closed()

    def test_that_never_comes_is_the_endpoints_fault(self) -> None:
        server = scripted()
        plan = proxy().listener(timeouts={"request_body_ms": 1})
        running = plan.pool(server, timeouts={"response_ms": 100}).start()
        asking = raw(running).send(EXPECTING)
        server.accept().expect_request_head("POST")
        asking.expect_response(504)
        assert running.endpoint(server)["failures"] == 1
        assert running.listener()["bad_requests"] == 0

    def test_makes_it_the_clients_turn(self) -> None:
        server = scripted()
        plan = proxy().listener(timeouts={"request_body_ms": 50})
        running = plan.pool(server, timeouts={"response_ms": 20}).start()
        asking = raw(running).send(EXPECTING)
        connection = server.accept()
        connection.expect_request_head("POST")
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        asking.expect_interim(100)
        asking.expect_response(408)
        assert running.endpoint(server)["failures"] == 0

    def test_may_come_with_the_end_of_a_body_that_is_no_body(self) -> None:
        server = scripted()
        running = proxy().pool(server, timeouts={"response_ms": 1_000}).spawn()
        asking = raw(running).send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection = server.accept()
        connection.expect_request_head("POST")
        with running.paused():
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            asking.send(b"ZZ\r\n")
        asking.expect_interim(100)
        asking.expect_response(400)
        running.expect_nothing_left()
        assert running.endpoint(server)["failures"] == 0

    def test_is_never_sent_twice(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).send(EXPECTING.replace(b"/", b"/continue", 1))
        asking.expect_interim(100)
        asking.send(b"abc").expect_response(200)

    def test_does_not_reach_an_http_1_0_client(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0") + b"abc")
        connection = server.accept()
        connection.expect_request("POST")
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok())
        asking.expect_response(200)

    def test_that_nobody_asked_for_is_passed_on(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).get("/continue")
        asking.expect_interim(100)
        asking.expect_response(200)

    def test_of_an_unknown_expectation_is_417(self) -> None:
        running = proxy().pool(origin()).start()
        raw(running).get("/", "Expect: 200-ok").expect_response(417)


class TestEarlyHints:
    def test_reach_the_client_at_once(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        assert asking.expect_interim(103).get("link") == "</style.css>"
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </more.css>\r\n\r\n")
        assert asking.expect_interim(103).get("link") == "</more.css>"
        connection.send(ok())
        asking.expect_response(200)

    def test_keep_the_connection_fit_for_use(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        asking = raw(running)
        for _ in range(3):
            asking.get("/hints").expect_interim(103)
            asking.expect_response(200)
        assert server.connections == 1

    def test_that_the_client_does_not_take_are_not_followed_by_another_answer(self) -> None:
        server = scripted()
        running = proxy().listener(timeouts={"idle_ms": 50}).pool(server).start()
        asking = raw(running, receive_bytes=4096).get()
        connection = server.accept()
        connection.expect_request()
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 8000 + b"\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            while True:
                connection.send(hints)
        running.expect_nothing_left()
        # Behind half an interim head, an answer of ours would be read as a part of it.
        assert running.listener()["bad_requests"] == 0
        assert running.endpoint(server)["failures"] == 0
        asking.close()

    def test_without_end_are_bounded(self) -> None:
        server = scripted()
        running = proxy().pool(server, timeouts={"response_ms": 200}, retry={"attempts": 1}).start()
        asking = raw(running).get()
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        asking.expect_interim(103)
        asking.expect_response(504)
        connection.expect_closed()


UPGRADE = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


class TestAnUpgrade:
    def test_that_both_agree_on_is_a_tunnel(self) -> None:
        server = origin()
        running = proxy().pool(server).start()
        asking = raw(running).send(UPGRADE)
        answer = asking.expect_interim(101)
        assert (answer.get("upgrade"), (answer.get("connection") or "").lower()) == ("echo", "upgrade")
        for word in (b"hello", b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff" * 100_000):
            asking.send(word).expect_bytes(word)
        assert running.in_flight() == 1
        asking.half_close()
        asking.expect_closed()
        running.expect_nothing_left()

    def test_carries_what_came_with_the_head(self) -> None:
        running = proxy().pool(origin()).start()
        asking = raw(running).send(UPGRADE + b"at once")
        asking.expect_interim(101)
        asking.expect_bytes(b"at once")

    def test_carries_each_half_to_its_own_end(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(UPGRADE)
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        asking.expect_interim(101)
        asking.send(b"last").half_close()
        connection.expect_bytes(b"last").expect_closed()
        connection.send(b"still").half_close()
        asking.expect_bytes(b"still").expect_closed()
        running.expect_nothing_left()

    def test_that_the_endpoint_declines_is_an_ordinary_response(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(UPGRADE)
        connection = server.accept()
        seen = connection.expect_request()
        assert (seen.get("upgrade"), (seen.get("connection") or "").lower()) == ("echo", "upgrade")
        connection.send(ok(b"no"))
        assert asking.expect_response(200).body == b"no"
        asking.get()
        connection.expect_request()
        connection.send(ok())
        asking.expect_response(200)

    @pytest.mark.parametrize(
        "fields",
        [
            "X-Nothing: 1",
            "Upgrade: echo",
            "Connection: upgrade",
            "Connection: Upgrade\r\nUpgrade: other",
        ],
    )
    def test_that_nobody_asked_for_is_a_bad_gateway(self, fields: str) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).get("/", fields)
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        asking.expect_response(502)
        connection.expect_closed()

    def test_without_connection_upgrade_is_not_passed_on(self) -> None:
        running = proxy().pool(origin()).start()
        body = raw(running).get("/echo", "Upgrade: echo").expect_response(200).body
        assert b'"upgrade"' not in body.lower()

    @pytest.mark.parametrize("protocol", ["h2c", "HTTP/2.0", "TLS/1.0", "echo, h2c"])
    def test_to_another_http_is_not_passed_on(self, protocol: str) -> None:
        running = proxy().pool(origin()).start()
        fields = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMA")
        body = raw(running).get("/echo", *fields).expect_response(200).body.lower()
        assert b'"upgrade"' not in body
        assert b'"http2-settings"' not in body

    def test_from_http_1_0_is_not_passed_on(self) -> None:
        running = proxy().pool(origin()).start()
        request = UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"/upgrade", b"/echo")
        assert b'"upgrade"' not in raw(running).send(request).expect_response(200).body.lower()

    def test_that_lies_idle_ends(self) -> None:
        running = proxy().pool(origin(), timeouts={"tunnel_ms": 100}).start()
        asking = raw(running).send(UPGRADE)
        asking.expect_interim(101)
        asking.expect_closed()
        running.expect_nothing_left()

    def test_ends_when_the_endpoint_resets_it(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(UPGRADE)
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nlast")
        asking.expect_interim(101)
        asking.expect_bytes(b"last")
        connection.reset()
        asking.expect_closed()
        running.expect_nothing_left()

    def test_ends_when_the_endpoint_leaves_bytes_unread(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking = raw(running).send(UPGRADE)
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        asking.expect_interim(101)
        fill(asking)
        # With bytes unread that is a reset, which the write that waits is told of, and not the read.
        connection.close()
        asking.expect_closed()
        running.expect_nothing_left()

    def test_waits_for_a_client_that_takes_its_time(self) -> None:
        server = scripted()
        running = proxy().listener(timeouts={"idle_ms": 50}).pool(server).start()
        asking = raw(running, receive_bytes=4096).send(UPGRADE)
        connection = server.accept()
        connection.expect_request()
        connection.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        asking.expect_interim(101)
        sent = fill(connection)
        running.expect_to_live_on(0.2)
        assert running.in_flight() == 1
        asking.expect_bytes(b"x" * sent)


def fill(sending: Wire) -> int:
    """Sends until no more is taken on the way; says how much that was."""
    sent = 0
    sending.socket.settimeout(0.3)
    try:
        while True:
            sent += sending.socket.send(b"x" * 65536)
    except TimeoutError:
        sending.socket.settimeout(PATIENCE_S)
        return sent
