"""What an HTTP/3 client may ask for is bounded: others are served meanwhile, and memory stays where it is."""

import contextlib
import socket
import time
from collections.abc import Callable

import pytest

from language import Running, authority, eventually, origin, proxy, scripted
from language.exchange import Gone
from language.http3 import (
    EXCESSIVE_LOAD,
    Http3Client,
    frame,
    http3_begun,
    http3_client,
    section,
    speaking,
)

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")]


def requests(running: Running) -> int:
    """How many of HTTP/3 have come."""
    return int(running.listener()["http3"]["requests"])


def test_a_slow_reader_of_one_stream_does_not_stall_the_others() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca).spawn()
    h3 = http3_client(running, ca, max_data=1 << 30, max_stream_data=65_536)
    assert h3.get().status == 200
    before = running.resident_bytes()
    slow = [h3.open("GET", "/bytes/100000000", end=False) for _ in range(20)]
    h3.quic.unread |= {stream.number for stream in slow}
    for stream in slow:
        stream.raw(b"", end=True)
    for stream in slow:
        # A window, but for the heads of frames.
        h3.until(lambda stream=stream: len(stream.got.body) > 65_000, "a full window")
    for _ in range(20):
        assert len(h3.open("GET", "/bytes/10000").expect_response(200).body) == 10_000
    assert all(len(stream.got.body) <= 65_536 for stream in slow)
    assert running.resident_bytes() - before < 32 << 20
    eventually(lambda: running.in_flight() == 20)
    for stream in slow:
        stream.cancel()
    eventually(lambda: running.in_flight() == 0)


def test_what_nobody_acknowledges_has_a_bound() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca).spawn()
    h3 = http3_client(running, ca, max_data=1 << 40, max_stream_data=1 << 40)
    assert h3.get().status == 200
    before = running.resident_bytes()
    for _ in range(5):
        h3.open("GET", "/bytes/100000000")
    eventually(lambda: running.in_flight() == 5)
    running.expect_to_live_on(for_s=1)
    assert running.resident_bytes_max() - before < 16 << 20


def test_an_endpoint_that_does_not_read_holds_up_its_stream_alone() -> None:
    ca = authority()
    slow, quick = scripted(), origin()
    plan = proxy().pool(quick).pool(slow, name="slow").route(path="/slow", pool="slow")
    running = speaking(plan, ca).spawn()
    h3 = http3_client(running, ca)
    assert h3.get().status == 200
    before = running.resident_bytes()
    stuck = [h3.open("POST", "/slow", end=False) for _ in range(4)]
    for one in stuck:
        slow.accept().expect_request_head()
        one.send(b"x" * (32 << 20))
        sending = h3.quic._streams[one.number]
        h3.until(lambda one=sending: one.sender.highest_offset == one.max_stream_data_remote, "a full window")
    for _ in range(10):
        assert h3.post("/echo", b"x" * 100_000).json()["body_bytes"] == 100_000
    # What the kernel holds of it is not ours.
    assert all(h3.quic._streams[one.number].max_stream_data_remote < 16 << 20 for one in stuck)
    assert running.resident_bytes() - before < 32 << 20
    for one in stuck:
        one.cancel()
    # What it has to say may have to wait for packets before it.
    h3.until(lambda: running.in_flight() == 0, "an end")


def test_a_window_that_never_opens_ends_its_stream() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, timeouts={"idle_ms": 400}).start()
    h3 = http3_client(running, ca, max_stream_data=2_000)
    stuck = h3.open("GET", "/bytes/100000", end=False)
    h3.quic.unread.add(stuck.number)
    stuck.raw(b"", end=True)
    stuck.expect_reset()
    eventually(lambda: running.in_flight() == 0)


def test_streams_at_once_are_bounded() -> None:
    ca = authority()
    server = scripted()
    running = speaking(proxy().pool(server), ca, limits={"streams_max": 3}).start()
    h3 = http3_client(running, ca)
    streams = [h3.open() for _ in range(4)]
    connections = [server.accept() for _ in range(3)]
    for connection in connections:
        connection.expect_request()
    assert not server.is_called()
    connections[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    h3.until(lambda: any(stream.is_over for stream in streams), "an answer")
    h3.until(lambda: running.listener()["http3"]["requests"] == 4, "the fourth")


def test_streams_without_requests_are_bounded_too() -> None:
    ca = authority()
    h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
    assert h3.quic._remote_max_streams_uni == 16


def test_one_that_vanishes_is_not_kept() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin().slow(60_000)), ca).start()
    h3 = http3_client(running, ca, idle_timeout=0.5)
    assert h3.quic._remote_max_idle_timeout == 30
    h3.open()
    eventually(lambda: running.in_flight() == 1)
    # It has agreed on less, and says no more.
    eventually(lambda: running.listener()["connections"] == 0)
    assert running.in_flight() == 0


def expect_told_to_go(lose: Callable[[Http3Client, Running, int], None]) -> None:
    """A client that has the stream of this number lost, and the next, until it is told to go."""
    ca, resets = authority(), 20
    running = speaking(proxy().pool(origin().slow(1_000)), ca, limits={"resets_max": resets}).start()
    h3 = http3_client(running, ca)
    began_s = time.monotonic()
    with contextlib.suppress(Gone):
        for number in range(1, 200):
            lose(h3, running, number)
    # So many have come, and one more; what is given back of them within a minute, meanwhile, beside.
    given_back = int((time.monotonic() - began_s) / 60 * resets)
    assert requests(running) in range(resets, resets + 2 + given_back)
    h3.expect_closed(EXCESSIVE_LOAD)
    eventually(lambda: running.in_flight() == 0)


def test_one_that_cancels_everything_is_told_to_go() -> None:
    def cancel(h3: Http3Client, running: Running, number: int) -> None:
        stream = h3.open()
        h3.until(lambda: requests(running) == number, "it has come")
        stream.cancel()
        h3.until(lambda: running.in_flight() == 0, "it has gone")

    expect_told_to_go(cancel)


def test_one_that_has_all_its_streams_reset_is_told_to_go() -> None:
    def break_off(h3: Http3Client, running: Running, number: int) -> None:
        stream = h3.open("POST", "/", [("content-length", "1")], end=False)
        h3.until(lambda: requests(running) == number, "it has come")
        stream.send(b"more than that").expect_reset()

    expect_told_to_go(break_off)


def test_a_client_that_cancels_now_and_then_is_served() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin().slow(5)), ca, limits={"resets_max": 20}).start()
    h3 = http3_client(running, ca)
    for _ in range(60):
        h3.open().cancel()
        assert h3.get().status == 200


@pytest.mark.parametrize(
    "what", ["on the control stream", "before a request", "within a request", "empty content"]
)
def test_a_flood_of_frames_ends_its_connection(what: str) -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, limits={"control_frames_max": 200}).start()
    h3 = http3_client(running, ca)
    empty = frame(0x0 if what == "empty content" else 0x21, b"")
    if what == "on the control stream":
        h3.control(empty * 300)
    elif what == "before a request":
        h3.open_raw(empty * 300)
    else:
        head = [(":method", "POST"), *GET[1:]]
        h3.open_raw(frame(1, section(head)) + empty * 300)
    h3.expect_closed(EXCESSIVE_LOAD)
    assert http3_client(running, ca).get().status == 200
    assert running.listener()["bad_requests"] == 1


def test_streams_of_no_known_kind_are_a_flood_too() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, limits={"control_frames_max": 100}).start()
    h3 = http3_client(running, ca)
    with contextlib.suppress(Gone):
        for _ in range(300):
            stray = h3.open_raw(b"\x40\x54", is_unidirectional=True)
            h3.until(lambda stray=stray: stray.got.stopped is not None, "an end")
    h3.expect_closed(EXCESSIVE_LOAD)


def test_content_earns_frames_that_carry_none() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, limits={"control_frames_max": 100}).start()
    h3 = http3_client(running, ca)
    head = [(":method", "POST"), *GET[1:-1], (":path", "/echo")]
    pieces = (frame(0x21, b"") + frame(0x0, b"x" * 100)) * 300
    asked = h3.open_raw(frame(1, section(head)) + pieces).raw(b"", end=True)
    assert asked.expect_response(200).json()["body_bytes"] == 30_000


def test_a_head_that_never_ends_is_not_waited_for() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, timeouts={"request_header_ms": 200}).start()
    h3 = http3_client(running, ca)
    h3.open_raw(b"\x01\x20" + b"\x00").expect_response(408)
    assert h3.get().status == 200


def test_a_body_that_never_comes_is_answered() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, timeouts={"request_body_ms": 200}).start()
    h3 = http3_client(running, ca)
    h3.open("POST", "/echo", end=False).expect_response(408)


def test_connections_are_bounded() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, limits={"connections": 2}).start()
    clients = [http3_client(running, ca) for _ in range(2)]
    refused = http3_begun(running, ca).begin()
    refused.expect_closed(0x2)
    clients[0].leave()
    eventually(lambda: running.listener()["connections"] == 1)
    assert http3_client(running, ca).get().status == 200


def test_a_handshake_that_never_ends_is_given_up() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca, timeouts={"handshake_ms": 200}).start()
    http3_begun(running, ca).begin()
    eventually(lambda: running.listener()["tls"]["failures"] == 1)
    running.expect_nothing_left()


def test_many_handshakes_at_once_have_to_show_where_they_come_from() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca).start()
    assert not http3_client(running, ca).quic._retry_source_connection_id
    for _ in range(64):
        http3_begun(running, ca).begin()
    eventually(lambda: running.listener()["http3"]["connections"] == 65)
    late = http3_client(running, ca)
    assert late.quic._retry_source_connection_id
    assert late.get().status == 200
    # One that cannot show that takes no place.
    http3_begun(running, ca).begin()
    assert late.get().status == 200
    assert running.listener()["http3"]["connections"] == 66


def test_packets_that_are_none_do_no_harm() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        for size in (0, 1, 20, 1_200, 9_000):
            for first in (0x00, 0x40, 0xC0, 0xFF):
                noise.sendto(bytes([first]) * size, running.listening())
    assert http3_client(running, ca).get().status == 200
