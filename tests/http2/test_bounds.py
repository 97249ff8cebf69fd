"""What an HTTP/2 client may ask for is bounded: others are served meanwhile, and memory stays where it is."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import hpack
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from language import eventually, origin, proxy, scripted
from language.http2 import ENHANCE_YOUR_CALM, REFUSED_STREAM, Http2Client, http2_client

MANY = 200_000


def head(number: int, *, path: str = "/", end: bool = True) -> HeadersFrame:
    """A request, compressed without any memory of others."""
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", path)]
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])
    flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
    return HeadersFrame(number, block, flags=flags)


def odd() -> Iterator[int]:
    return iter(range(1, 2**31, 2))


def resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


def flood(client: Http2Client, frames: Iterator[bytes]) -> int:
    """Sends until the proxy has had enough; says how many that took. Nothing is read meanwhile."""
    sent = 0
    client.socket.settimeout(5)
    try:
        for _ in range(MANY // 100):
            client.socket.sendall(b"".join(next(frames) for _ in range(100)))
            sent += 100
    except (OSError, TimeoutError):
        pass
    client.socket.settimeout(20)
    return sent


def frames_of(client: Http2Client) -> Iterator[Frame]:
    """What the proxy sends, until the connection ends."""
    data = b""
    try:
        while True:
            while len(data) < 9 or len(data) < 9 + Frame.parse_frame_header(memoryview(data[:9]))[1]:
                piece = client.socket.recv(65_536)
                if not piece:
                    return
                data += piece
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            frame.parse_body(memoryview(data[9 : 9 + length]))
            data = data[9 + length :]
            yield frame
    except ConnectionResetError:
        return


def expect_calm(client: Http2Client, sent: int) -> None:
    """The connection has been ended, with a word where that got through before the reset."""
    goaways = [frame.error_code for frame in frames_of(client) if isinstance(frame, GoAwayFrame)]
    assert goaways in ([], [ENHANCE_YOUR_CALM]), goaways
    assert goaways or sent < MANY, "all was taken"


def rapid_resets() -> Iterator[bytes]:
    for number in odd():
        yield head(number).serialize() + RstStreamFrame(number, 8).serialize()


def pings() -> Iterator[bytes]:
    while True:
        yield PingFrame(0, b"12345678").serialize()


def settings() -> Iterator[bytes]:
    while True:
        yield SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}).serialize()


def priorities() -> Iterator[bytes]:
    for number in odd():
        yield PriorityFrame(number, 0, 15, False).serialize()


def window_updates() -> Iterator[bytes]:
    while True:
        yield WindowUpdateFrame(0, 1).serialize()


def empty_data() -> Iterator[bytes]:
    yield head(1, path="/echo", end=False).serialize()
    while True:
        yield DataFrame(1, b"").serialize()


def unknown_frames() -> Iterator[bytes]:
    while True:
        yield struct.pack(">HBBBL", 0, 4, 0xF0, 0, 0) + b"abcd"


def continuations() -> Iterator[bytes]:
    frame = head(1)
    frame.flags.discard("END_HEADERS")
    yield frame.serialize()
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple("x", "y" * 100)])
    while True:
        yield ContinuationFrame(1, block).serialize()


def empty_continuations() -> Iterator[bytes]:
    frame = head(1)
    frame.flags.discard("END_HEADERS")
    yield frame.serialize()
    while True:
        yield ContinuationFrame(1, b"").serialize()


def hpack_bombs() -> Iterator[bytes]:
    """One large value in the table, then a reference to it thousands of times in each request."""
    encoder = hpack.Encoder()
    basics = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")]
    whole = ["END_HEADERS", "END_STREAM"]
    yield HeadersFrame(1, encoder.encode([*basics, ("x", "y" * 3500)]), flags=whole).serialize()
    block = encoder.encode([*basics, ("x", "y" * 3500)])
    for number in range(3, 2**31, 2):
        yield HeadersFrame(number, block + block[-1:] * 10_000, flags=whole).serialize()


def bad_requests() -> Iterator[bytes]:
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(":method", "GET")])
    for number in odd():
        yield HeadersFrame(number, block, flags=["END_HEADERS", "END_STREAM"]).serialize()


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "rapid reset": rapid_resets,
    "PING": pings,
    "SETTINGS": settings,
    "PRIORITY": priorities,
    "WINDOW_UPDATE": window_updates,
    "empty DATA": empty_data,
    "unknown frames": unknown_frames,
    "CONTINUATION": continuations,
    "empty CONTINUATION": empty_continuations,
    "HPACK bombs": hpack_bombs,
    "malformed requests": bad_requests,
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_ends_its_connection(what: str) -> None:
    running = proxy().pool(origin().slow(20)).spawn()
    assert http2_client(running).get().status == 200
    before = resident_bytes(running.process.pid)
    attacker = http2_client(running)
    sent = flood(attacker, FLOODS[what]())
    expect_calm(attacker, sent)
    assert resident_bytes(running.process.pid) - before < 32 << 20
    assert http2_client(running).get().status == 200
    eventually(lambda: running.in_flight() == 0)


def test_a_client_that_cancels_now_and_then_is_served() -> None:
    running = proxy().listener(limits={"resets_max": 20}).pool(origin().slow(5)).start()
    client = http2_client(running)
    for _ in range(60):
        client.open().reset()
        assert client.get().status == 200


def test_one_that_cancels_everything_is_not() -> None:
    running = proxy().listener(limits={"resets_max": 20}).pool(origin().slow(1_000)).start()
    client = http2_client(running)
    cancelled = 0
    while client.goaway is None:
        stream = client.open()
        cancelled += 1
        client.h2.ping(b"12345678")
        client.flush()
        pongs = cancelled
        client.until(lambda: client.pongs == pongs or client.goaway is not None, "a pong")  # noqa: B023
        if client.goaway is None:
            stream.reset()
    assert (client.goaway, cancelled) == (ENHANCE_YOUR_CALM, 21)


def test_streams_at_once_are_bounded() -> None:
    server = scripted()
    running = proxy().listener(limits={"streams_max": 3}).pool(server).start()
    client = http2_client(running)
    client.send_frames(*[head(number) for number in (1, 3, 5, 7)])
    for _ in range(3):
        server.accept().expect_request()
    reset = next(frame for frame in frames_of(client) if isinstance(frame, RstStreamFrame))
    assert (reset.stream_id, reset.error_code) == (7, REFUSED_STREAM)
    assert not server.is_called()
    other = http2_client(running)
    other.until(lambda: other.h2.remote_settings.max_concurrent_streams == 3, "the setting")


def test_a_slow_reader_of_one_stream_does_not_stall_the_others() -> None:
    one = origin()
    running = proxy().pool(one).spawn()
    before = resident_bytes(running.process.pid)
    # The window of the connection is wide enough for all, that of a stream is not.
    client = http2_client(running)
    client.h2.increment_flow_control_window(1 << 30)
    client.reads = False
    slow = [client.open("GET", "/bytes/100000000") for _ in range(20)]
    for stream in slow:
        client.until(lambda stream=stream: len(stream.got.body) == 65_535, "a full window")
    for _ in range(20):
        assert client.open("GET", "/bytes/10000").expect_response(200).body
    assert all(len(stream.got.body) == 65_535 for stream in slow)
    assert resident_bytes(running.process.pid) - before < 32 << 20
    eventually(lambda: running.in_flight() == 20)
    for stream in slow:
        stream.reset()
    eventually(lambda: running.in_flight() == 0)


def test_an_endpoint_that_does_not_read_holds_up_its_stream_alone() -> None:
    slow, quick = scripted(), origin()
    plan = proxy().pool(quick).pool(slow, name="slow").route(path="/slow", pool="slow")
    running = plan.spawn()
    before = resident_bytes(running.process.pid)
    client = http2_client(running)
    stuck = client.open("POST", "/slow", end=False)
    slow.accept().expect_request_head()
    sent = 0
    while True:
        more = stuck.fill_window()
        sent += more
        assert client.post("/echo", b"x" * 100_000).json()["body_bytes"] == 100_000
        if more == 0 and sent > 65_535:
            break
    assert sent < 16 << 20
    assert resident_bytes(running.process.pid) - before < 32 << 20
    # Nor does it keep one whose client gives up.
    stuck.reset()
    eventually(lambda: running.in_flight() == 0)


def test_a_window_that_never_opens_ends_its_stream() -> None:
    server = origin()
    running = proxy().listener(timeouts={"idle_ms": 300}).pool(server).start()
    client = http2_client(running, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    stuck = client.open("GET", "/bytes/100000")
    stuck.expect_head()
    stuck.expect_reset()
    eventually(lambda: running.in_flight() == 0)


def test_a_connection_that_is_never_read_ends() -> None:
    running = proxy().listener(timeouts={"idle_ms": 500}).pool(origin()).start()
    client = http2_client(running, receive_bytes=4096, settings={SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    client.h2.increment_flow_control_window(2**31 - 1 - 65_535)
    client.flush()
    for _ in range(20):
        client.open("GET", "/bytes/10000000")
    eventually(lambda: running.in_flight() > 0)
    running.expect_nothing_left()


def test_an_idle_connection_is_told_to_end() -> None:
    running = proxy().listener(timeouts={"idle_ms": 200}).pool(origin()).start()
    client = http2_client(running)
    assert client.get().status == 200
    client.expect_goaway(0)
    client.expect_closed()
    running.expect_nothing_left()


def test_a_head_that_never_ends_is_not_waited_for() -> None:
    running = proxy().listener(timeouts={"idle_ms": 300}).pool(origin()).start()
    client = http2_client(running)
    frame = head(1)
    frame.flags.discard("END_HEADERS")
    client.send_frames(frame)
    client.expect_closed()


def test_a_body_that_never_comes_is_answered() -> None:
    running = proxy().listener(timeouts={"request_body_ms": 200}).pool(origin()).start()
    client = http2_client(running)
    client.open("POST", "/echo", end=False).expect_response(408)
