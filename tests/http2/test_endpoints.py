"""HTTP/2 behind: connections that requests share, and what an endpoint may say about them."""

import pytest
from h2.settings import SettingCodes

from language import (
    Running,
    eventually,
    in_background,
    origin,
    proxy,
    raw,
    refused_address,
    request,
    scripted,
)
from language.http2 import (
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    http2_client,
)
from language.http2_origins import Http2Scripted, http2_origin, http2_scripted

ONE_TRY = {"attempts": 1}


def started(*servers: Http2Scripted, **settings: object) -> Running:
    return proxy().pool(*servers, protocol="h2c", **settings).start()  # type: ignore[arg-type]


def test_requests_of_all_clients_share_one_connection() -> None:
    server = http2_scripted()
    running = started(server)
    asked = [in_background(running, f"/{number}") for number in range(20)]
    connection = server.accept()
    streams = [connection.expect_request() for _ in asked]
    eventually(lambda: running.endpoint(server)["in_flight"] == 20)
    assert running.endpoint(server)["connections"] == 1
    assert running.endpoint(server)["idle_connections"] == 0
    for stream in reversed(streams):
        stream.respond(200, b"ok")
    assert {one.reply().status for one in asked} == {200}
    running.expect_nothing_left()
    assert not server.is_called()


def test_at_the_endpoints_bound_of_streams_another_connection_is_opened() -> None:
    server = http2_scripted()
    running = started(server)
    asked = [in_background(running) for _ in range(5)]
    bound = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    connections = [server.accept(bound) for _ in range(3)]
    for connection in connections:
        connection.until(lambda connection=connection: connection.requests, "a request")
    streams = [connections[0].expect_request(), connections[0].expect_request()]
    streams += [connections[1].expect_request(), connections[1].expect_request()]
    streams += [connections[2].expect_request()]
    for stream in streams:
        stream.respond(200, b"ok")
    assert {one.reply().status for one in asked} == {200}


def test_at_the_bound_of_connections_requests_wait_for_a_stream() -> None:
    server = http2_scripted()
    running = started(server, connections={"max": 1})
    asked = [in_background(running) for _ in range(3)]
    connection = server.accept({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    for _ in asked:
        connection.expect_request().respond(200, b"ok")
    assert {one.reply().status for one in asked} == {200}
    assert not server.is_called()


def test_interim_responses_trailers_and_te() -> None:
    server = http2_scripted()
    client = http2_client(started(server))
    asked = client.open("POST", "/", [("te", "trailers")], end=False)
    asked.send(b"abc").trailers([("x-up", "1")])
    stream = server.accept().expect_request("POST")
    assert (bytes(stream.got.body), stream.got.trailers) == (b"abc", [("x-up", "1")])
    assert ("te", "trailers") in stream.expect_head()
    stream.interim(103, [("link", "</a>")])
    assert asked.expect_interim(103)[1:] == [("link", "</a>")]
    stream.respond(200, b"body", trailers=[("x-down", "2")])
    assert asked.expect_end().trailers == [("x-down", "2")]


def test_trailers_reach_a_client_of_http1() -> None:
    server = http2_scripted()
    asking = raw(started(server)).get()
    server.accept().expect_request().respond(200, b"body", trailers=[("x-sum", "2")])
    message = asking.expect_response(200)
    assert (message.framing, message.body, message.trailers) == ("chunked", b"body", [("x-sum", "2")])


def test_a_response_without_a_length_that_ends_with_its_head() -> None:
    server = http2_scripted()
    asking = raw(started(server)).get()
    server.accept().expect_request().respond(200)
    message = asking.expect_response(200)
    assert (message.framing, message.body) == ("length", b"")


def test_content_waits_for_100_continue() -> None:
    server = http2_scripted()
    asking = raw(started(server))
    asking.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    connection = server.accept()
    stream = connection.expect_request("POST", whole=False)
    assert ("expect", "100-continue") in stream.expect_head()
    stream.interim(100)
    asking.expect_interim(100)
    asking.send(b"ok")
    assert bytes(stream.expect_end().body) == b"ok"
    stream.respond(200)
    asking.expect_response(200)


def test_a_refused_stream_is_tried_elsewhere_whatever_it_asks() -> None:
    refusing, other = http2_scripted(), http2_origin()
    running = proxy().pool(refusing, other, protocol="h2c", policy="round_robin").start()
    asked = in_background(running, method="POST", body=b"once")
    refusing.accept().expect_request("POST").reset(REFUSED_STREAM)
    assert asked.reply().origin == other.name
    assert other.requests == 1


def test_what_a_goaway_did_not_look_at_goes_over_another_connection() -> None:
    server = http2_scripted()
    running = started(server, retry=ONE_TRY)
    first = in_background(running, "/first")
    connection = server.accept()
    kept = connection.expect_request(target="/first")
    second = in_background(running, "/second", method="POST", body=b"once")
    connection.expect_request("POST", "/second")
    connection.h2.close_connection(NO_ERROR, last_stream_id=kept.number)
    connection.h2.state_machine.state = type(connection.h2.state_machine.state).SERVER_OPEN
    connection.flush()
    server.accept().expect_request("POST", "/second").respond(200, b"second")
    kept.respond(200, b"first")
    assert (first.reply().body, second.reply().body) == (b"first", b"second")
    assert running.endpoint(server)["failures"] == 0


def test_after_a_goaway_one_connection_serves_all_that_come_while_the_old_one_lasts() -> None:
    server = http2_scripted()
    running = started(server)
    long = in_background(running, "/long")
    old = server.accept()
    kept = old.expect_request(target="/long")
    old.h2.close_connection(NO_ERROR, last_stream_id=kept.number)
    old.h2.state_machine.state = type(old.h2.state_machine.state).SERVER_OPEN
    old.flush()
    new = None
    for number in range(3):
        asked = in_background(running, f"/{number}")
        new = new or server.accept()
        new.expect_request(target=f"/{number}").respond(200, b"ok")
        assert asked.reply().status == 200
    assert not server.is_called()
    kept.respond(200, b"long")
    assert long.reply().body == b"long"


def test_after_a_goaway_the_next_request_opens_another_connection() -> None:
    server = http2_scripted()
    running = started(server)
    asked = in_background(running)
    connection = server.accept()
    connection.expect_request().respond(200, b"ok")
    assert asked.reply().status == 200
    connection.h2.close_connection(NO_ERROR)
    connection.flush()
    connection.expect_closed()
    again = in_background(running)
    server.accept().expect_request().respond(200, b"ok")
    assert again.reply().status == 200
    assert running.endpoint(server)["failures"] == 0


def test_a_connection_that_breaks_under_an_idempotent_request_is_tried_once_more() -> None:
    server = http2_scripted()
    running = started(server, retry=ONE_TRY)
    asked = in_background(running)
    connection = server.accept()
    connection.expect_request().respond(200, b"ok")
    assert asked.reply().status == 200
    again = in_background(running)
    connection.expect_request()
    connection.close()
    server.accept().expect_request().respond(200, b"again")
    assert again.reply().body == b"again"
    assert running.endpoint(server)["failures"] == 0


def test_a_reset_before_the_response_is_the_endpoints_failure() -> None:
    server = http2_scripted()
    running = started(server, retry=ONE_TRY)
    asked = in_background(running)
    server.accept().expect_request().reset(INTERNAL_ERROR)
    assert asked.reply().status == 502
    assert running.endpoint(server)["failures"] == 1


def test_a_response_cut_short_is_never_whole() -> None:
    server = http2_scripted()
    running = started(server)
    asking, over2 = raw(running).get(), http2_client(running).open()
    connection = server.accept()
    for _ in range(2):
        connection.expect_request().respond(200, b"abc", [("content-length", "10")], end=False)
    over2.expect_bytes(3)
    for number in list(connection.received):
        connection.h2.reset_stream(number, INTERNAL_ERROR)
    connection.flush()
    assert asking.expect_cut_short(200) == b"abc"
    over2.expect_reset(INTERNAL_ERROR)


def test_more_than_the_announced_length_is_refused() -> None:
    server = http2_scripted()
    asking = http2_client(started(server)).open()
    stream = server.accept().expect_request().head([(":status", "200"), ("content-length", "3")])
    asking.expect_head()
    stream.send(b"abcdef")
    asking.expect_reset(INTERNAL_ERROR)


MALFORMED: dict[str, list[tuple[str, str]]] = {
    "two lengths": [(":status", "200"), ("content-length", "1"), ("content-length", "1")],
    "status 101": [(":status", "101")],
    "connection": [(":status", "200"), ("connection", "close")],
    "white space around a value": [(":status", "200"), ("x", " a")],
    "too many fields": [(":status", "200"), *[(f"x-{number}", "a") for number in range(101)]],
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_response_is_a_bad_gateway(what: str) -> None:
    server = http2_scripted()
    running = started(server, retry=ONE_TRY)
    asked = in_background(running)
    server.accept().expect_request().head(MALFORMED[what])
    assert asked.reply().status == 502


def test_a_client_that_leaves_resets_its_stream_alone() -> None:
    server = http2_scripted()
    running = started(server)
    client = http2_client(running)
    leaves, stays = client.open("GET", "/leaves"), client.open("GET", "/stays")
    connection = server.accept()
    left = connection.expect_request(target="/leaves")
    kept = connection.expect_request(target="/stays")
    leaves.reset()
    left.connection.until(lambda: left.got.reset is not None, "the reset")
    kept.respond(200, b"ok")
    stays.expect_response(200)
    assert running.endpoint(server)["failures"] == 0


def test_a_client_that_does_not_read_holds_up_its_stream_alone() -> None:
    server = http2_scripted()
    running = started(server)
    slow = http2_client(running)
    slow.reads = False
    stuck = slow.open("GET", "/stuck")
    connection = server.accept()
    answering = connection.expect_request(target="/stuck").head([(":status", "200")])
    stuck.expect_head()
    # What fits into the windows and what is on its way between them, but no more.
    sent = answering.fill_window()
    slow.until(lambda: len(stuck.got.body) == 65_535, "a full window")
    asked = in_background(running, "/other")
    connection.expect_request(target="/other").respond(200, b"x" * 1_000_000)
    assert len(asked.reply().body) == 1_000_000
    sent += answering.fill_window()
    assert sent < 1 << 20
    assert len(stuck.got.body) == 65_535


def test_an_endpoint_that_sends_no_end_of_settings_is_left() -> None:
    server = http2_scripted()
    running = started(server, retry=ONE_TRY)
    asked = in_background(running)
    connection = server.accept()
    connection.expect_request()
    for _ in range(200):
        connection.send_raw((bytes(3) + b"\x04\x00" + bytes(4)) * 100)
        if connection.ended:
            break
    assert asked.reply().status == 502


def test_one_that_speaks_http1_is_not_asked() -> None:
    one = origin()
    running = proxy().pool(one, protocol="h2c", retry=ONE_TRY).start()
    assert request(running).status == 502
    assert one.requests <= 1
    server = scripted()
    running = proxy().pool(server, protocol="h2c", timeouts={"connect_ms": 300}, retry=ONE_TRY).start()
    asked = in_background(running)
    server.accept()
    assert asked.reply().status == 504


def test_a_refused_connection_is_tried_elsewhere() -> None:
    other = http2_origin()
    running = proxy().pool(refused_address(), other, protocol="h2c", policy="round_robin").start()
    for _ in range(4):
        assert request(running, "POST", body=b"x").origin == other.name


def test_an_endpoint_that_has_had_enough_is_left_alone() -> None:
    server = http2_scripted()
    running = started(server, retry=ONE_TRY)
    asked = in_background(running)
    connection = server.accept()
    stream = connection.expect_request()
    connection.h2.close_connection(ENHANCE_YOUR_CALM, last_stream_id=stream.number)
    connection.flush()
    connection.close()
    assert asked.reply().status in (502, 503)


def test_idle_connections_end() -> None:
    server = http2_scripted()
    running = started(server, connections={"idle_timeout_ms": 100})
    asked = in_background(running)
    connection = server.accept()
    connection.expect_request().respond(200, b"ok")
    assert asked.reply().status == 200
    connection.expect_goaway(NO_ERROR)
    connection.expect_closed()
    eventually(lambda: running.endpoint(server)["connections"] == 0)
    assert running.endpoint(server)["idle_connections"] == 0


def test_one_that_hangs_is_not_given_the_next_request() -> None:
    server = http2_scripted()
    running = started(server, timeouts={"response_ms": 300}, retry=ONE_TRY)
    first = in_background(running)
    silent = server.accept()
    silent.expect_request().respond(200)
    assert first.reply().status == 200
    asked = in_background(running)
    silent.expect_request()
    assert asked.reply().status == 504
    again = in_background(running)
    server.accept().expect_request().respond(200, b"ok")
    assert again.reply().status == 200


def test_endpoints_that_left_keep_their_streams_and_get_no_more() -> None:
    old, new = http2_scripted(), http2_origin()
    running = started(old)
    asked = in_background(running)
    connection = old.accept()
    stream = connection.expect_request()
    running.apply(proxy().pool(new, protocol="h2c"))
    assert request(running).origin == new.name
    stream.respond(200, b"late")
    assert asked.reply().body == b"late"
    connection.expect_goaway(NO_ERROR)
    connection.expect_closed()


def test_a_slow_endpoint_takes_only_its_window() -> None:
    server = http2_scripted()
    running = started(server)
    client = http2_client(running)
    stream = client.open("POST", end=False)
    connection = server.accept()
    connection.reads = False
    stuck = connection.expect_request("POST", whole=False)
    sent = stream.fill_window()
    connection.until(lambda: len(stuck.got.body) == 65_535, "a full window")
    while more := stream.fill_window():
        sent += more
    assert sent < 1 << 20
    other = client.open()
    connection.expect_request().respond(200)
    other.expect_response(200)


def test_an_answer_before_the_end_of_the_request() -> None:
    server = http2_scripted()
    client = http2_client(started(server))
    asked = client.open("POST", end=False)
    connection = server.accept()
    stream = connection.expect_request("POST", whole=False)
    stream.respond(200, b"enough")
    client.until(lambda: asked.got.ended, "the answer")
    assert bytes(asked.got.body) == b"enough"
    connection.until(lambda: stream.got.reset is not None, "the end of the upload")
    assert stream.got.reset != PROTOCOL_ERROR


def test_the_asterisk_is_a_target() -> None:
    server = http2_scripted()
    running = started(server)
    asked = in_background(running, "*", method="OPTIONS")
    over2 = http2_client(running).open("OPTIONS", "*")
    connection = server.accept()
    for _ in range(2):
        connection.expect_request("OPTIONS", "*").respond(204)
    assert asked.reply().status == 204
    over2.expect_response(204)
