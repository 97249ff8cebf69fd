"""What an endpoint of HTTP/2 may do to a connection that requests share, and what becomes of them."""

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from h2.settings import SettingCodes

from language import Authority, Running, authority, eventually, in_background, keep, proxy, request, scripted
from language.http2 import INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, Stream, http2_client
from language.http2_origins import Http2Scripted, Http2Server, http2_origin, http2_scripted

ONE_TRY = {"attempts": 1}
STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = SettingCodes.INITIAL_WINDOW_SIZE
SECURE = pytest.mark.parametrize("secure", [False, True], ids=["h2c", "h2"])


def context(ca: Authority, **validity: float) -> ssl.SSLContext:
    made = ca.server(ca.certificate("127.0.0.1", **validity), alpn=["h2"])  # type: ignore[arg-type]
    # A session that is taken up again shows no certificate.
    made.num_tickets = 0
    return made


def started(secure: bool, **settings: Any) -> tuple[Running, Http2Scripted]:
    ca = authority()
    server = http2_scripted(tls=context(ca) if secure else None)
    tls = {"ca": str(ca.file)} if secure else None
    return proxy().pool(server, protocol="h2" if secure else "h2c", tls=tls, **settings).start(), server


def change(connection: Http2Server, setting: SettingCodes, value: int) -> None:
    """Changes a setting, and waits until that is acknowledged."""
    before = connection.acknowledged
    connection.h2.update_settings({setting: value})
    connection.flush()
    connection.until(lambda: connection.acknowledged > before, "an acknowledgement")


def accept_announced(server: Http2Scripted, settings: dict[int, int] | None = None) -> Http2Server:
    """A connection that begins with a line of the PROXY protocol."""
    connection = server.accept_nothing()
    while connection.recv(1) != b"\n":
        pass
    announced = keep(Http2Server(connection))
    announced.begin(settings)
    return announced


def say_goodbye(connection: Http2Server, last: int, code: int = NO_ERROR) -> None:
    """A GOAWAY behind which the streams up to `last` go on."""
    state = connection.h2.state_machine.state
    connection.h2.close_connection(code, last_stream_id=last)
    connection.h2.state_machine.state = state
    connection.flush()


class TestGoaway:
    @SECURE
    def test_within_a_body_lets_it_end_and_sends_the_rest_elsewhere(self, secure: bool) -> None:
        running, server = started(secure, retry=ONE_TRY)
        client = http2_client(running)
        first = client.open("GET", "/first")
        old = server.accept()
        kept = old.expect_request(target="/first").respond(200, b"one", end=False)
        assert first.expect_bytes(3) == b"one"
        second = client.open("POST", "/second", end=False)
        second.send(b"once", end=True)
        old.expect_request("POST", "/second")
        say_goodbye(old, kept.number)
        new = server.accept()
        asked = new.expect_request("POST", "/second")
        assert bytes(asked.got.body) == b"once"
        asked.respond(200, b"second")
        assert second.expect_response(200).body == b"second"
        kept.send(b"two", end=True)
        assert bytes(first.expect_end().body) == b"two"
        old.expect_closed()
        assert running.endpoint(server)["failures"] == 0

    @SECURE
    def test_after_each_request_costs_none_of_those_that_share_the_connection(self, secure: bool) -> None:
        """New connections too, and whatever the method: what was not looked at is sent again until it is."""
        running, server = started(secure, retry=ONE_TRY)
        asked = [in_background(running, f"/{n}", method="POST", body=b"once") for n in range(6)]
        for left in range(6, 0, -1):
            connection = server.accept()
            streams = [connection.expect_request("POST") for _ in range(left)]
            say_goodbye(connection, streams[0].number)
            streams[0].respond(200, b"ok")
        assert {one.reply().status for one in asked} == {200}
        assert running.endpoint(server)["failures"] == 0

    def test_again_and_again_is_not_followed_for_ever(self) -> None:
        running, server = started(False, retry=ONE_TRY)
        asked = in_background(running)
        connections = 0
        while not asked.is_over:
            if server.is_called():
                connections += 1
                connection = server.accept()
                connection.expect_request()
                say_goodbye(connection, 0)
                connection.close()
        assert asked.reply().status in (502, 503)
        assert connections <= 3
        assert running.endpoint(server)["failures"] == 1


class TestRefusedStreams:
    @SECURE
    def test_go_over_the_same_endpoint_once_more_where_there_is_no_other(self, secure: bool) -> None:
        """A connection that was there may have been full by the time; a new one is asked once."""
        running, server = started(secure)
        warm = in_background(running)
        connection = server.accept()
        connection.expect_request().respond(200)
        assert warm.reply().status == 200
        asked = in_background(running, method="POST", body=b"once")
        connection.expect_request("POST").reset(REFUSED_STREAM)
        server.accept().expect_request("POST").respond(200, b"done")
        assert asked.reply().body == b"done"
        assert running.endpoint(server)["failures"] == 0

    def test_an_endpoint_that_refuses_everything_is_given_up(self) -> None:
        running, server = started(False)
        asked = in_background(running)
        connection = server.accept()
        refused = 0
        while not asked.is_over:
            if connection.readable() or connection.requests:
                connection.until(lambda: connection.requests, "a request")
                Stream(connection, connection.requests.pop(0)).reset(REFUSED_STREAM)
                refused += 1
        assert asked.reply().status == 503
        assert refused <= 3


class TestStreamsAtOnce:
    @SECURE
    def test_one_at_a_time_where_the_endpoint_takes_no_more(self, secure: bool) -> None:
        running, server = started(secure, connections={"max": 1})
        asked = [in_background(running) for _ in range(6)]
        connection = server.accept({STREAMS: 1})
        for _ in asked:
            stream = connection.expect_request()
            assert connection.requests == []
            stream.respond(200, b"ok")
        assert {one.reply().status for one in asked} == {200}
        assert not server.is_called()

    def test_none_at_all_is_a_refused_connection(self) -> None:
        running, server = started(False, retry=ONE_TRY, timeouts={"connect_ms": 20_000})
        asked = in_background(running)
        connection = server.accept({STREAMS: 0})
        assert asked.reply().status == 502
        connection.expect_closed()
        assert not server.is_called()

    def test_fewer_than_there_are_hold_back_the_next(self) -> None:
        running, server = started(False, connections={"max": 1})
        asked = [in_background(running, f"/{number}") for number in range(3)]
        connection = server.accept()
        streams = [connection.expect_request() for _ in asked]
        change(connection, STREAMS, 1)
        late = in_background(running, "/late")
        eventually(lambda: running.endpoint(server)["in_flight"] == 4)
        for stream in streams:
            assert connection.requests == []
            stream.respond(200)
        connection.expect_request(target="/late").respond(200)
        assert {one.reply().status for one in [*asked, late]} == {200}

    def test_more_let_those_in_that_wait(self) -> None:
        running, server = started(False, connections={"max": 1})
        asked = [in_background(running) for _ in range(3)]
        connection = server.accept({STREAMS: 1})
        first = connection.expect_request()
        change(connection, STREAMS, 10)
        others = [connection.expect_request() for _ in range(2)]
        for stream in [first, *others]:
            stream.respond(200)
        assert {one.reply().status for one in asked} == {200}

    @SECURE
    def test_one_that_ends_goes_to_one_who_can_use_it(self, secure: bool) -> None:
        """A request that was refused on this connection waits for another, and holds up nobody behind it."""
        patient = {"connect_ms": 120_000}
        running, server = started(secure, connections={"max": 1}, timeouts=patient)
        asked = {"/long": in_background(running, "/long")}
        connection = server.accept({STREAMS: 3})
        streams = {"/long": connection.expect_request(target="/long")}
        for target in ("/short", "/refused"):
            asked[target] = in_background(running, target)
            streams[target] = connection.expect_request(target=target)
        streams["/refused"].reset(REFUSED_STREAM)
        # Once this is acknowledged the refusal has been heard.
        change(connection, STREAMS, 3)
        asked["/next"] = in_background(running, "/next")
        streams["/next"] = connection.expect_request(target="/next")
        asked["/last"] = in_background(running, "/last")
        eventually(lambda: running.endpoint(server)["in_flight"] == 5)
        streams["/short"].respond(200)
        streams["/last"] = connection.expect_request(target="/last")
        for target in ("/long", "/next", "/last"):
            streams[target].respond(200)
        server.accept().expect_request(target="/refused").respond(200)
        assert {one.reply().status for one in asked.values()} == {200}

    def test_a_connection_that_the_first_needs_no_more_goes_to_the_next(self) -> None:
        """Each client has connections of its own, and there may be two in all: the third waits for one."""
        server = http2_scripted()
        bound = {"max": 2, "idle_timeout_ms": None}
        patient = {"connect_ms": 120_000}
        plan = proxy().pool(server, protocol="h2c", send_proxy="v1", connections=bound, timeouts=patient)
        running = plan.start()
        first, second, third = (http2_client(running) for _ in range(3))
        one, two = first.open("GET", "/one"), first.open("GET", "/two")
        shared = accept_announced(server, {STREAMS: 2})
        kept = {target: shared.expect_request(target=target) for target in ("/one", "/two")}
        other = second.open("GET", "/other")
        lone = accept_announced(server).expect_request(target="/other")
        leaves = first.open("GET", "/leaves")
        eventually(lambda: running.in_flight() == 4)
        leaves.reset()
        eventually(lambda: running.in_flight() == 3)
        waits = third.open("GET", "/waits")
        eventually(lambda: running.in_flight() == 4)
        kept["/one"].respond(200)
        one.expect_response(200)
        lone.respond(200)
        other.expect_response(200)
        accept_announced(server).expect_request(target="/waits").respond(200)
        waits.expect_response(200)
        kept["/two"].respond(200)
        two.expect_response(200)


class TestWindows:
    @SECURE
    def test_a_stream_that_is_stalled_holds_up_no_other(self, secure: bool) -> None:
        running, server = started(secure)
        client = http2_client(running)
        stuck = client.open("POST", "/stuck", end=False)
        connection = server.accept()
        connection.reads = False
        stream = connection.expect_request("POST", "/stuck", whole=False)
        stuck.fill_window()
        connection.until(lambda: len(stream.got.body) == 65_535, "a full window")
        # Its window is full; those of others and of the connection are not.
        connection.h2.increment_flow_control_window(1 << 20)
        connection.flush()
        for number in range(3):
            other = client.open("POST", f"/{number}", end=False)
            other.send(b"x" * 60_000, end=True)
            passing = connection.expect_request("POST", f"/{number}")
            assert len(passing.got.body) == 60_000
            passing.respond(200, b"ok")
            other.expect_response(200)
        assert len(stream.got.body) == 65_535

    def test_a_smaller_window_midway_is_kept_to(self) -> None:
        running, server = started(False)
        asked = in_background(running, method="POST", body=b"x" * 200_000)
        connection = server.accept()
        stream = connection.expect_request("POST", whole=False)
        # The package ends the connection where more comes than fits.
        change(connection, WINDOW, 1_000)
        assert len(stream.expect_end().body) == 200_000
        stream.respond(200)
        assert asked.reply().status == 200

    def test_a_larger_window_midway_is_used(self) -> None:
        running, server = started(False)
        client = http2_client(running)
        asked = client.open("POST", "/", end=False)
        connection = server.accept({WINDOW: 10})
        connection.reads = False
        stream = connection.expect_request("POST", whole=False)
        asked.send(b"x" * 30_000)
        connection.until(lambda: len(stream.got.body) == 10, "what fits")
        change(connection, WINDOW, 40_000)
        connection.until(lambda: len(stream.got.body) == 30_000, "the rest")

    def test_a_small_table_for_fields_is_kept_to(self) -> None:
        running, server = started(False)
        client = http2_client(running)
        connection = None
        for number in range(4):
            asked = client.open("GET", f"/{number}", [("x-again", "the same " * 20 + "again")])
            connection = connection or server.accept({SettingCodes.HEADER_TABLE_SIZE: 0})
            stream = connection.expect_request(target=f"/{number}")
            assert dict(stream.expect_head())["x-again"] == "the same " * 20 + "again"
            stream.respond(200)
            asked.expect_response(200)


class TestEnds:
    def test_one_that_agreed_and_then_speaks_http1_is_not_asked(self) -> None:
        ca = authority()
        server = scripted(tls=context(ca))
        tls = {"ca": str(ca.file)}
        running = proxy().pool(server, protocol="h2", tls=tls, retry=ONE_TRY).start()
        asked = in_background(running, "/secret")
        connection = server.accept()
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        assert asked.reply().status == 502
        assert b"secret" not in connection.read_rest_of_all()

    def test_a_handshake_that_takes_too_long_is_no_connection(self) -> None:
        ca = authority()
        server = http2_scripted()
        settings: dict[str, Any] = {"timeouts": {"connect_ms": 300}, "retry": ONE_TRY}
        for protocol in ("h2", "auto"):
            running = proxy().pool(server, protocol=protocol, tls={"ca": str(ca.file)}, **settings).start()
            asked = in_background(running)
            keep(server.accept_nothing())
            assert asked.reply().status == 504

    @SECURE
    def test_a_connection_that_breaks_is_a_failure_for_each_request_on_it(self, secure: bool) -> None:
        running, server = started(secure, retry=ONE_TRY)
        asked = [in_background(running, method="POST", body=b"x") for _ in range(3)]
        connection = server.accept()
        for _ in asked:
            connection.expect_request("POST")
        connection.close()
        assert {one.reply().status for one in asked} == {502}
        eventually(lambda: running.endpoint(server)["connections"] == 0)

    def test_an_end_without_a_word_within_a_body_is_a_cut(self) -> None:
        running, server = started(True)
        stream = http2_client(running).open()
        connection = server.accept()
        connection.expect_request().respond(200, b"abc", end=False)
        stream.expect_bytes(3)
        connection.close()
        stream.expect_reset(INTERNAL_ERROR)

    def test_a_certificate_that_expires_ends_no_connection_and_begins_none(self) -> None:
        ca = authority()
        ends = datetime.now(UTC) + timedelta(seconds=8)
        server = http2_scripted(tls=context(ca, ends_in_days=8 / 86_400))
        running = proxy().pool(server, protocol="h2", tls={"ca": str(ca.file)}, retry=ONE_TRY).start()
        client = http2_client(running)
        kept = client.open("GET", "/kept")
        connection = server.accept()
        stream = connection.expect_request(target="/kept")
        eventually(lambda: datetime.now(UTC) > ends + timedelta(seconds=1))
        other = client.open("GET", "/other")
        connection.expect_request(target="/other").respond(200)
        other.expect_response(200)
        stream.respond(200, b"late")
        assert kept.expect_response(200).body == b"late"
        connection.close()
        eventually(lambda: running.endpoint(server)["connections"] == 0)
        asked = in_background(running)
        with pytest.raises(ssl.SSLError, match=r"(?i)expired"):
            server.accept()
        assert asked.reply().status == 502
        # A new one, as a server shows that has renewed it, is enough.
        new = http2_origin(tls=context(ca))
        running.apply(proxy().pool(new, protocol="h2", tls={"ca": str(ca.file)}))
        assert request(running).origin == new.name
