"""A malformed response is a bad gateway and ends its connection; one cut short is never shown as whole."""

import select
from typing import ClassVar

import pytest

from language import (
    Incomplete,
    Raw,
    Scripted,
    ScriptedConnection,
    SpawnedEngine,
    eventually,
    ok,
    origin,
    proxy,
    raw,
    request,
    scripted,
)
from language.through import asked

ONE_TRY = {"attempts": 1}

MALFORMED: dict[str, bytes] = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "binary": b"\x00\xff\x00\xff\r\n\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a version of another kind": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: one\r\n\r\na",
    "a coding before chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not final": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before a colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a name that is no token": b"HTTP/1.1 200 OK\r\nX(: b\r\nContent-Length: 0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 40_000,
    "fields without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
    "101 unasked": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_response_with(what: str) -> None:
    server = scripted()
    running = proxy().pool(server, retry=ONE_TRY).start()
    asking, connection = asked(running, server)
    try:
        connection.send(MALFORMED[what])
    except ConnectionError:
        # It may be refused before it is whole.
        assert len(MALFORMED[what]) > 10_000
    asking.expect_response(502)
    connection.expect_closed()
    assert running.endpoint(server)["failures"] == 1
    # The client did nothing wrong, so its connection stays.
    asking.get("/next")
    fresh = server.accept()
    fresh.expect_request("GET", "/next")
    fresh.send(ok())
    asking.expect_response(200)
    running.expect_nothing_left(clients=1)


def test_bytes_behind_a_response_end_its_connection() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking, connection = asked(running, server)
    connection.send(ok(b"one") + ok(b"poison"))
    assert asking.expect_response(200).body == b"one"
    connection.expect_closed()
    asking.get("/next")
    fresh = server.accept()
    fresh.expect_request("GET", "/next")
    fresh.send(ok(b"two"))
    assert asking.expect_response(200).body == b"two"


def test_bytes_that_come_while_a_connection_is_idle_are_never_an_answer() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking, connection = asked(running, server)
    connection.send(ok(b"one"))
    asking.expect_response(200)
    eventually(lambda: running.endpoint(server)["idle_connections"] == 1)
    connection.send(ok(b"poison"))
    eventually(lambda: running.endpoint(server)["connections"] == 0, "it is given up")
    asking.get("/next")
    fresh = server.accept()
    fresh.expect_request("GET", "/next")
    fresh.send(ok(b"two"))
    assert asking.expect_response(200).body == b"two"


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = {
    "length": (LENGTH + b"abc", b""),
    "length, one byte missing": (LENGTH + b"abc", b"x" * 96),
    "chunked": (CHUNKS + b"3\r\nabc\r\n", b""),
    "chunked, within a chunk": (CHUNKS + b"3\r\nabc\r\n", b"9\r\nabc"),
    "chunked, within a size": (CHUNKS + b"3\r\nabc\r\n", b"9"),
    "chunked, before the trailers end": (CHUNKS + b"3\r\nabc\r\n", b"0\r\n"),
    "chunked, then a bad size": (CHUNKS + b"3\r\nabc\r\n", b"zz\r\n"),
    "chunked, then a bad trailer": (CHUNKS + b"3\r\nabc\r\n", b"0\r\nX y\r\n\r\n"),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("what", CUT)
def test_a_body_cut_short(what: str, how: str) -> None:
    begin, rest = CUT[what]
    server = scripted()
    running = proxy().pool(server).start()
    asking, connection = asked(running, server)
    connection.send(begin)
    head = asking.read_response(body=False)
    assert head.status == 200
    connection.send(rest)
    getattr(connection, how)()
    with pytest.raises(Incomplete):
        asking.read_response_body(head)
    eventually(lambda: running.endpoint(server)["failures"] == 1)
    running.expect_nothing_left()


def test_a_body_cut_short_is_seen_by_an_http_1_0_client_that_was_told_its_length() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    connection = server.accept()
    connection.expect_request()
    connection.send(LENGTH + b"abc").close()
    assert asking.expect_cut_short(200) == b"abc"


def test_a_close_delimited_body_that_is_reset_is_not_whole() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking, connection = asked(running, server)
    connection.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    head = asking.read_response(body=False)
    assert head.framing == "chunked"
    asking.expect_bytes(b"3\r\nabc\r\n")
    connection.reset()
    asking.expect_closed()


class TestACloseDelimitedBodyWhileTheClientStillSends:
    """The endpoint leaves bytes unread: its connection ends with a reset, of which a write is told."""

    def asked(self) -> tuple[SpawnedEngine, Raw, ScriptedConnection, Scripted]:
        server = scripted()
        running = proxy().pool(server).spawn()
        asking = raw(running).send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        connection = server.accept()
        connection.expect_request_head("POST")
        asking.send(b"unread")
        eventually(lambda: select.select([connection.socket], [], [], 0)[0], "the endpoint could read")
        return running, asking, connection, server

    def test_is_not_whole_behind_a_reset(self) -> None:
        running, asking, connection, server = self.asked()
        with running.paused():
            connection.send(b"HTTP/1.1 200 OK\r\n\r\npart").close()
            asking.send(b"x")
        with pytest.raises(Incomplete):
            asking.expect_response(200)
        running.expect_nothing_left()
        assert running.endpoint(server)["failures"] == 1

    def test_is_whole_where_its_end_came_before_the_reset(self) -> None:
        running, asking, connection, server = self.asked()
        with running.paused():
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nwhole").half_close()
            connection.close()
            asking.send(b"x")
        assert asking.expect_response(200).body == b"whole"
        asking.close()
        running.expect_nothing_left()
        assert running.endpoint(server)["failures"] == 0


class TestAFaultyEndpoint:
    @pytest.mark.parametrize(
        ("path", "status"),
        [("/reset", 502), ("/garbage", 502), ("/raw?HTTP/1.1%20abc%0d%0a%0d%0a", 502)],
    )
    def test_is_a_bad_gateway_and_the_client_may_go_on(self, path: str, status: int) -> None:
        server = origin()
        running = proxy().pool(server, retry=ONE_TRY).start()
        asking = raw(running)
        asking.get(path).expect_response(status)
        asking.get().expect_response(200)
        running.expect_nothing_left(clients=1)

    def test_that_dies_within_a_response_cuts_it(self) -> None:
        running = proxy().pool(origin()).start()
        for path in ("/reset-after/10", "/short/10"):
            assert raw(running).get(path).expect_cut_short(200) == b"abcdefghij"
        running.expect_nothing_left()

    def test_that_hangs_is_a_gateway_timeout(self) -> None:
        server = origin()
        running = proxy().pool(server, timeouts={"response_ms": 50}, retry=ONE_TRY).start()
        assert request(running, target="/hang").status == 504
        eventually(lambda: server.in_flight == 0, "the endpoint is told")
        running.expect_nothing_left()

    def test_that_hangs_may_take_long_to_receive(self) -> None:
        """The time to answer begins with the last byte of the request."""
        server = scripted()
        running = proxy().pool(server, timeouts={"response_ms": 200}, retry=ONE_TRY).start()
        asking = raw(running).send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n")
        connection = server.accept()
        connection.expect_request_head()
        for _ in range(50):
            asking.send(b"x")
            connection.expect_bytes(b"x")
        connection.send(ok())
        asking.expect_response(200)

    def test_that_accepts_and_says_nothing_is_a_gateway_timeout(self) -> None:
        server = scripted()
        running = proxy().pool(server, timeouts={"response_ms": 50}, retry=ONE_TRY).start()
        raw(running).get().expect_response(504)
        server.accept().expect_request()

    def test_that_stops_within_a_body_cuts_it(self) -> None:
        server = scripted()
        running = proxy().pool(server, timeouts={"idle_ms": 50}).start()
        asking, connection = asked(running, server)
        connection.send(LENGTH + b"abc")
        assert asking.expect_cut_short(200) == b"abc"
        connection.expect_closed()

    def test_that_drips_is_waited_for(self) -> None:
        running = proxy().pool(origin(), timeouts={"response_ms": 5000, "idle_ms": 2000}).start()
        assert raw(running).get("/drip/20/5").expect_response(200).body == b"." * 20

    def test_that_drips_its_head_is_read(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking, connection = asked(running, server)
        for byte in ok(b"slow", "X-Y: z"):
            connection.send(bytes([byte]))
        assert asking.expect_response(200).body == b"slow"

    def test_that_takes_longer_than_the_whole_request_may_is_a_gateway_timeout(self) -> None:
        running = proxy().pool(origin(), timeouts={"total_ms": 50}, retry=ONE_TRY).start()
        assert request(running, target="/hang").status == 504

    def test_that_closes_its_side_after_the_answer_is_not_used_again(self) -> None:
        server = scripted()
        running = proxy().pool(server).start()
        asking, connection = asked(running, server)
        connection.send(ok(b"half")).half_close()
        assert asking.expect_response(200).body == b"half"
        connection.expect_closed()
        running.expect_nothing_left(clients=1)
        asking.get("/next")
        server.accept().expect_request("GET", "/next")

    def test_that_closes_its_side_instead_of_answering_is_a_bad_gateway(self) -> None:
        server = scripted()
        running = proxy().pool(server, retry=ONE_TRY).start()
        asking, connection = asked(running, server)
        connection.half_close()
        asking.expect_response(502)

    def test_that_resets_before_it_answers_is_left_for_another(self) -> None:
        bad, good = origin().fault("reset"), origin()
        running = proxy().pool(bad, good, policy="round_robin").start()
        assert [request(running).origin for _ in range(6)] == [good.name] * 6
        assert running.endpoint(bad)["failures"] > 0

    def test_that_resets_is_not_left_for_another_by_a_post(self) -> None:
        bad, good = origin().fault("reset"), origin()
        running = proxy().pool(bad, good, policy="round_robin").start()
        statuses = {request(running, "POST", body=b"x").status for _ in range(2)}
        assert statuses == {200, 502}
        assert good.requests == 1

    def test_a_5xx_is_the_answer_unless_it_is_to_be_repeated(self) -> None:
        bad, good = origin().status(503), origin()
        plain = proxy().pool(bad, good, policy="round_robin").start()
        assert sorted(request(plain).status for _ in range(2)) == [200, 503]
        repeating = proxy().pool(bad, good, policy="round_robin", retry={"on": ["connect", "5xx"]}).start()
        assert [request(repeating).status for _ in range(2)] == [200, 200]
        assert sorted(request(repeating, "POST").status for _ in range(2)) == [200, 503]

    def test_a_late_answer_is_repeated_where_that_is_wanted(self) -> None:
        bad, good = origin().fault("hang"), origin()
        retry = {"on": ["connect", "timeout"]}
        running = (
            proxy().pool(bad, good, policy="round_robin", timeouts={"response_ms": 50}, retry=retry).start()
        )
        assert [request(running).status for _ in range(2)] == [200, 200]
        running.expect_nothing_left()

    def test_a_body_goes_with_the_repeat(self) -> None:
        bad, good = origin().fault("reset"), origin()
        running = proxy().pool(bad, good, policy="round_robin").start()
        for _ in range(2):
            assert request(running, "PUT", "/echo", body=b"abc").json()["body"] == "abc"

    def test_a_body_that_goes_with_the_repeat_is_counted(self) -> None:
        bad, good = origin().fault("reset"), origin()
        running = proxy().pool(bad, good, policy="round_robin").start()
        request(running, "PUT", body=b"x" * 50_000)
        assert running.endpoint(bad)["failures"] == 1
        eventually(lambda: running.endpoint(good)["bytes_out"] > 50_000)

    def test_a_body_too_large_to_keep_is_not_repeated(self) -> None:
        bad, good = scripted(), origin()
        running = proxy().pool(bad, good, policy="round_robin", retry={"body_bytes_max": 10}).start()
        asking = raw(running).send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)
        connection = bad.accept()
        connection.expect_request("PUT")
        connection.close()
        asking.expect_response(502)
        assert good.stats()["requests"] == 0


class TestErrorsThatAreTriedElsewhere:
    """With `5xx` in `retry.on`; an answer that is not repeated is the endpoint's own, to the last byte."""

    RETRY: ClassVar = {"on": ["5xx"], "attempts": 2, "budget": None}

    def test_another_endpoint_answers(self) -> None:
        bad, good = origin().named("bad").status(503), origin().named("good")
        running = proxy().pool(bad, good, policy="round_robin", retry=self.RETRY).start()
        assert [request(running).origin for _ in range(6)] == ["good"] * 6
        assert running.endpoint(bad)["failures"] > 0

    def test_without_another_the_answer_is_passed_on(self) -> None:
        server = origin().named("bad").status(503).body_bytes(37)
        running = proxy().pool(server, retry=self.RETRY).start()
        reply = request(running)
        assert (reply.status, reply.origin, len(reply.body)) == (503, "bad", 37)

    def test_what_must_not_be_repeated_is_passed_on(self) -> None:
        bad, other = origin().named("bad").status(500), origin().named("other").status(500)
        running = proxy().pool(bad, other, retry=self.RETRY).start()
        reply = request(running, "POST", "/", body=b"once")
        assert (reply.status, bad.requests + other.requests) == (500, 1)
        assert reply.origin in ("bad", "other")

    def test_without_budget_the_answer_is_passed_on(self) -> None:
        servers = [origin().named(name).status(503) for name in "ab"]
        running = proxy().workers(1).pool(*servers, retry={**self.RETRY, "budget": 0.0}).start()
        replies = [request(running) for _ in range(60)]
        assert {reply.origin is not None for reply in replies} == {True}
        # Beside the budget ten a second are granted; sixty requests do not get sixty of them.
        assert 60 <= sum(server.requests for server in servers) < 120


def test_an_interim_response_is_an_answer_and_nothing_is_tried_again() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    asking = raw(running).get()
    first = server.accept()
    first.expect_request()
    first.send(ok())
    asking.expect_response(200)
    asking.get()
    first.expect_request()
    first.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").close()
    asking.expect_response(103)
    asking.expect_response(502)
    assert not server.is_called()
