"""How HTTP/2 connections end: told beforehand, with every answer."""

import signal

from language import ok, origin, proxy, scripted
from language.exchange import Gone
from language.http2 import REFUSED_STREAM, http2_client


def test_a_drain_lets_streams_end_and_says_so_beforehand() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    client = http2_client(running)
    asked = client.open()
    connection = server.accept()
    connection.expect_request()
    running.stop()
    assert client.expect_goaway(0) >= 1
    connection.send(ok(b"whole"))
    assert asked.expect_response(200).body == b"whole"
    client.expect_closed()
    running.expect_stopped()


def test_a_request_on_its_way_to_a_draining_proxy_is_answered_or_refused() -> None:
    one = origin()
    running = proxy().pool(one).drain_timeout(20_000).start()
    client = http2_client(running)
    assert client.get().status == 200
    running.stop()
    streams = []
    while client.goaway is None and not client.ended:
        streams.append(client.open())
        client.pump()
    answered = 0
    for stream in streams:
        try:
            client.until(lambda stream=stream: stream.is_over, "an end")
        except Gone:
            assert client.last_stream is not None
            assert stream.number > client.last_stream
            continue
        assert stream.got.reset in (None, REFUSED_STREAM)
        answered += stream.got.reset is None
    assert answered == one.requests - 1
    client.expect_closed()
    running.expect_stopped()


def test_a_client_that_does_not_hear_of_the_drain_is_refused_in_the_end() -> None:
    running = proxy().pool(origin()).drain_timeout(800).spawn()
    client = http2_client(running)
    assert client.get().status == 200
    running.process.send_signal(signal.SIGTERM)
    client.expect_goaway(0)
    client.expect_closed()


def test_a_listener_that_leaves_ends_its_connections() -> None:
    server = scripted()
    plan = proxy().listener("web").listener("other").pool(server)
    running = plan.start()
    client = http2_client(running, "other")
    asked = client.open()
    connection = server.accept()
    connection.expect_request()
    stays = http2_client(running)
    running.apply(proxy().listener("web").pool(server))
    client.expect_goaway(0)
    connection.send(ok(b"whole"))
    assert asked.expect_response(200).body == b"whole"
    client.expect_closed()
    other = stays.open()
    server_side = server.accept() if server.is_called() else connection
    server_side.expect_request()
    server_side.send(ok())
    other.expect_response(200)
    assert stays.goaway is None


def test_a_reload_takes_effect_on_the_next_stream() -> None:
    first, second = origin(), origin()
    running = proxy().pool(first).start()
    client = http2_client(running)
    assert client.get().origin == first.name
    running.apply(proxy().pool(second))
    assert client.get().origin == second.name
    assert client.goaway is None


def test_a_client_that_goes_away_takes_its_streams_along() -> None:
    server = scripted()
    running = proxy().pool(server).start()
    client = http2_client(running)
    for _ in range(5):
        client.open()
    connections = [server.accept() for _ in range(5)]
    for connection in connections:
        connection.expect_request()
    client.close()
    for connection in connections:
        connection.expect_closed()
    running.expect_nothing_left()
