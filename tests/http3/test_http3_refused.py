"""HTTP/3 in front: what is no request is refused as RFC 9114 says, and no endpoint hears of it."""

import pytest
from aioquic.buffer import encode_uint_var

from language import authority, eventually, origin, proxy, scripted
from language.exchange import Fields
from language.http3 import (
    CLOSED_CRITICAL_STREAM,
    CONTROL_STREAM,
    DATA,
    DECODER_STREAM_ERROR,
    DECOMPRESSION_FAILED,
    ENCODER_STREAM_ERROR,
    EXCESSIVE_LOAD,
    FRAME_ERROR,
    FRAME_UNEXPECTED,
    GOAWAY,
    HEADERS,
    ID_ERROR,
    MESSAGE_ERROR,
    MISSING_SETTINGS,
    NO_ERROR,
    REQUEST_INCOMPLETE,
    SETTINGS,
    SETTINGS_ERROR,
    STREAM_CREATION_ERROR,
    Http3Client,
    frame,
    http3_client,
    section,
    speaking,
)

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")]


def without(*names: str) -> Fields:
    return [(name, value) for name, value in GET if name not in names]


MALFORMED: dict[str, Fields] = {
    "no method": without(":method"),
    "no scheme": without(":scheme"),
    "no path": without(":path"),
    "an empty path": [*without(":path"), (":path", "")],
    "a path that is none": [*without(":path"), (":path", "x")],
    "no authority": without(":authority"),
    "an empty authority": [*without(":authority"), (":authority", "")],
    "an authority with a user": [*without(":authority"), (":authority", "u@a.example")],
    "another host": [*GET, ("host", "b.example")],
    "a method twice": [*GET, (":method", "GET")],
    "a path twice": [*GET, (":path", "/admin")],
    "a pseudo-field of responses": [*GET, (":status", "200")],
    "a pseudo-field of nobody": [*GET, (":mine", "1")],
    "a pseudo-field behind others": [*without(":path"), ("x", "1"), (":path", "/")],
    "a pseudo-field behind a cookie": [*without(":path"), ("cookie", "a=1"), (":path", "/")],
    "a pseudo-field behind an empty cookie": [*without(":path"), ("cookie", ""), (":path", "/")],
    "an upper case letter": [*GET, ("X-Mine", "1")],
    "a blank in a name": [*GET, ("x mine", "1")],
    "a line end in a value": [*GET, ("x", "1\r\ny: 2")],
    "a NUL in a value": [*GET, ("x", "1\x002")],
    "a blank before a value": [*GET, ("x", " 1")],
    "connection": [*GET, ("connection", "close")],
    "keep-alive": [*GET, ("keep-alive", "timeout=5")],
    "proxy-connection": [*GET, ("proxy-connection", "keep-alive")],
    "transfer-encoding": [*GET, ("transfer-encoding", "chunked")],
    "upgrade": [*GET, ("upgrade", "websocket")],
    "te beside trailers": [*GET, ("te", "trailers, gzip")],
    "two lengths": [*GET, ("content-length", "1"), ("content-length", "1")],
    "a host twice": [*GET, ("host", "a.example"), ("host", "a.example")],
    "a method that is none": [*without(":method"), (":method", "GE T")],
    "a trace with content": [*without(":method"), (":method", "TRACE"), ("content-length", "0")],
    "a length that is none": [*GET, ("content-length", "-1")],
    "another scheme": [*without(":scheme"), (":scheme", "ftp")],
    "a protocol without CONNECT": [*GET, (":protocol", "websocket")],
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_request_is_answered_and_its_connection_goes_on(what: str) -> None:
    ca = authority()
    one = origin()
    running = speaking(proxy().pool(one), ca).start()
    h3 = http3_client(running, ca)
    refused = h3.open_with(MALFORMED[what], end=False)
    refused.expect_response(400)
    h3.until(lambda: refused.got.stopped is not None, "an end of the request")
    assert refused.got.stopped == MESSAGE_ERROR
    assert one.requests == 0
    assert running.listener()["bad_requests"] == 1
    assert h3.get().status == 200


def test_connect_is_not_implemented() -> None:
    ca = authority()
    h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
    connect = [(":method", "CONNECT"), (":authority", "a.example:443")]
    h3.open_with(connect).expect_response(501)
    pseudo = [(":protocol", "connect-udp"), (":scheme", "https"), (":path", "/")]
    h3.open_with([*connect, *pseudo], end=False).expect_response(501)


def test_an_expectation_that_nobody_knows_is_refused() -> None:
    ca = authority()
    h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
    h3.open("POST", "/echo", [("expect", "miracles")]).expect_response(417)


class TestLengths:
    @pytest.mark.parametrize(("announced", "sent"), [(5, 3), (3, 5)])
    def test_content_of_another_length_ends_its_stream(self, announced: int, sent: int) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().pool(server), ca).start()
        h3 = http3_client(running, ca)
        stream = h3.open("POST", "/", [("content-length", str(announced))], end=False)
        connection = server.accept()
        connection.expect_request_head()
        stream.send(b"x" * sent, end=True)
        stream.expect_reset(MESSAGE_ERROR)
        connection.expect_closed()
        eventually(lambda: running.in_flight() == 0)
        assert running.listener()["bad_requests"] == 1

    def test_a_pseudo_field_in_trailers_ends_its_stream(self) -> None:
        ca = authority()
        server = scripted()
        h3 = http3_client(speaking(proxy().pool(server), ca).start(), ca)
        stream = h3.open("POST", end=False).send(b"abc")
        connection = server.accept()
        connection.expect_request_head()
        assert connection.read_exactly(8) == b"3\r\nabc\r\n"
        stream.trailers([(":path", "/")]).expect_reset(MESSAGE_ERROR)
        connection.expect_closed()


class TestTooMuch:
    def test_a_head_that_is_too_large_is_answered(self) -> None:
        ca = authority()
        one = origin()
        running = speaking(proxy().pool(one), ca, limits={"header_bytes_max": 2_000}).start()
        h3 = http3_client(running, ca)
        h3.open("GET", "/", [("x", "y" * 5_000)]).expect_response(431)
        # Fields count 32 bytes each beside what they hold.
        h3.open("GET", "/", [(f"x{number}", "") for number in range(60)]).expect_response(431)
        assert one.requests == 0
        assert h3.get().status == 200
        assert h3.h3.received_settings is not None
        assert h3.h3.received_settings[0x6] == 2_000

    def test_too_many_fields_and_a_target_that_is_too_long(self) -> None:
        ca = authority()
        limits = {"header_count_max": 10, "target_bytes_max": 100}
        h3 = http3_client(speaking(proxy().pool(origin()), ca, limits=limits).start(), ca)
        h3.open("GET", "/", [(f"x{number}", "") for number in range(11)]).expect_response(431)
        h3.open("GET", "/" + "x" * 100).expect_response(414)
        assert h3.get().status == 200

    def test_a_head_of_any_length_takes_no_memory(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).start()
        h3 = http3_client(running, ca)
        h3.open_raw(b"\x01\xc0\x00\x00\x10\x00\x00\x00\x00" + b"x" * 1_000).expect_response(431)
        assert h3.get().status == 200

    def test_trailers_that_are_too_large_end_their_stream(self) -> None:
        ca = authority()
        h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
        stream = h3.open("POST", "/echo", end=False).send(b"abc")
        stream.trailers([("x", "y" * 20_000)]).expect_reset(EXCESSIVE_LOAD)
        # What is short as it is sent, and long as it is meant.
        stream = h3.open("POST", "/echo", end=False).send(b"abc")
        stream.trailers([("x", "0" * 12_000)]).expect_reset(MESSAGE_ERROR)
        # More fields than there may be over HTTP/1.1.
        stream = h3.open("POST", "/echo", end=False).send(b"abc")
        stream.trailers([("x", "y")] * 33).expect_reset(MESSAGE_ERROR)
        stream = h3.open("POST", "/echo", end=False).send(b"abc")
        stream.trailers([("x", "y")] * 32).expect_response(200)
        assert h3.get().status == 200


class TestFrames:
    """Each of these ends the connection, with the code that the standard names."""

    def one(self) -> Http3Client:
        ca = authority()
        return http3_client(speaking(proxy().pool(origin()), ca).start(), ca)

    def test_content_before_a_head(self) -> None:
        h3 = self.one()
        h3.open_raw(frame(DATA, b"x"))
        h3.expect_closed(FRAME_UNEXPECTED)

    @pytest.mark.parametrize("kind", [0x2, 0x3, SETTINGS, 0x5, 0x6, GOAWAY, 0x8, 0x9, 0xD])
    def test_frames_that_are_not_for_a_request(self, kind: int) -> None:
        h3 = self.one()
        h3.open_raw(frame(kind, b"\x00"))
        h3.expect_closed(FRAME_UNEXPECTED)

    @pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS])
    def test_frames_behind_trailers(self, kind: int) -> None:
        h3 = self.one()
        head = frame(HEADERS, section([(":method", "POST"), *without(":method")]))
        trailers = frame(HEADERS, section([("x", "y")]))
        h3.open_raw(head + trailers + frame(kind, b""), end=True)
        h3.expect_closed(FRAME_UNEXPECTED)

    @pytest.mark.parametrize("begun", [frame(HEADERS, section(GET))[:-1], b"\x01", b"\x01\x40", b"\x21\x01"])
    def test_a_stream_that_ends_within_a_frame(self, begun: bytes) -> None:
        h3 = self.one()
        h3.open_raw(begun, end=True)
        h3.expect_closed(FRAME_ERROR)

    def test_a_stream_without_a_request(self) -> None:
        h3 = self.one()
        h3.open_raw(b"", end=True).expect_reset(REQUEST_INCOMPLETE)
        assert h3.get().status == 200

    @pytest.mark.parametrize(
        "block",
        [
            b"",
            b"\x00\x00\x80",
            b"\x00\x00\xff\x24",
            b"\x03\x81\x10\x11",
            # Insertions, and a base, that there cannot be, before fields that refer to none.
            b"\x01\x00" + section(GET)[2:],
            b"\x00\x80" + section(GET)[2:],
            # A text whose last bits are not padding.
            b"\x00\x00\x51\x81\x00",
            # One that is longer than the section.
            b"\x00\x00\x51\x05/",
        ],
    )
    def test_a_section_that_cannot_be_decompressed(self, block: bytes) -> None:
        h3 = self.one()
        h3.open_raw(frame(HEADERS, block), end=True)
        h3.expect_closed(DECOMPRESSION_FAILED)

    def test_a_base_that_nothing_refers_to_may_be_any(self) -> None:
        h3 = self.one()
        h3.open_raw(frame(HEADERS, b"\x00\x7f\x05" + section(GET)[2:]), end=True).expect_response(200)

    def test_trailers_that_cannot_be_decompressed(self) -> None:
        h3 = self.one()
        head = frame(HEADERS, section([(":method", "POST"), *without(":method")]))
        h3.open_raw(head + frame(HEADERS, b"\x00\x00\x80"), end=True)
        h3.expect_closed(DECOMPRESSION_FAILED)


class TestControl:
    """The streams that carry no request."""

    def sends(self, data: bytes, *, end: bool = False) -> Http3Client:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).start()
        h3 = http3_client(running, ca, bare=True)
        number = h3.quic.get_next_available_stream_id(is_unidirectional=True)
        h3.quic.send_stream_data(number, data, end_stream=end)
        h3.flush()
        return h3

    def test_the_first_frame_is_settings(self) -> None:
        self.sends(b"\x00" + frame(GOAWAY, b"\x00")).expect_closed(MISSING_SETTINGS)

    def test_settings_come_once(self) -> None:
        self.sends(b"\x00" + frame(SETTINGS, b"") * 2).expect_closed(FRAME_UNEXPECTED)

    @pytest.mark.parametrize("settings", [b"\x02\x00", b"\x05\x01", b"\x06\x01\x06\x01", b"\x08\x02"])
    def test_settings_that_cannot_be(self, settings: bytes) -> None:
        self.sends(b"\x00" + frame(SETTINGS, settings)).expect_closed(SETTINGS_ERROR)

    def test_settings_that_are_cut_short(self) -> None:
        self.sends(b"\x00" + frame(SETTINGS, b"\x06")).expect_closed(FRAME_ERROR)

    @pytest.mark.parametrize("kind", [DATA, HEADERS, 0x5, 0x2, 0x6, 0x8, 0x9])
    def test_frames_that_are_not_for_the_control_stream(self, kind: int) -> None:
        self.sends(b"\x00" + frame(SETTINGS, b"") + frame(kind, b"")).expect_closed(FRAME_UNEXPECTED)

    @pytest.mark.parametrize(
        "frames",
        [
            frame(GOAWAY, b"\x01") + frame(GOAWAY, b"\x02"),
            frame(0xD, b"\x02") + frame(0xD, b"\x01"),
            frame(0x3, b"\x00"),
        ],
    )
    def test_numbers_that_cannot_be(self, frames: bytes) -> None:
        self.sends(b"\x00" + frame(SETTINGS, b"") + frames).expect_closed(ID_ERROR)

    def test_settings_of_any_length_take_no_memory(self) -> None:
        self.sends(b"\x00\x04" + encode_uint_var(1 << 40) + b"\x21\x00").expect_closed(EXCESSIVE_LOAD)

    @pytest.mark.parametrize("sized", [b"\x00", b"\x01\x40", b"\x02\x00\x00", encode_uint_var(1 << 40)])
    def test_frames_of_a_wrong_length(self, sized: bytes) -> None:
        self.sends(b"\x00" + frame(SETTINGS, b"") + bytes([GOAWAY]) + sized).expect_closed(FRAME_ERROR)

    @pytest.mark.parametrize("kind", [0, 2, 3])
    def test_they_stay_open(self, kind: int) -> None:
        begun = bytes([kind]) + (frame(SETTINGS, b"") if kind == 0 else b"")
        self.sends(begun, end=True).expect_closed(CLOSED_CRITICAL_STREAM)

    @pytest.mark.parametrize("kind", [0, 2, 3])
    def test_there_is_one_of_each(self, kind: int) -> None:
        begun = bytes([kind]) + (frame(SETTINGS, b"") if kind == 0 else b"")
        h3 = self.sends(begun)
        number = h3.quic.get_next_available_stream_id(is_unidirectional=True)
        h3.quic.send_stream_data(number, begun)
        h3.flush()
        h3.expect_closed(STREAM_CREATION_ERROR)

    def test_ours_stays_open_too(self) -> None:
        ca = authority()
        h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
        h3.until(lambda: h3.h3.received_settings is not None, "settings")
        h3.quic.stop_stream(CONTROL_STREAM, NO_ERROR)
        h3.flush()
        h3.expect_closed(CLOSED_CRITICAL_STREAM)

    def test_one_of_no_known_kind_is_not_listened_to(self) -> None:
        ca = authority()
        h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
        stray = h3.open_raw(b"\x40\x54" + b"whatever", is_unidirectional=True)
        h3.until(lambda: stray.got.stopped is not None, "an end")
        assert stray.got.stopped == STREAM_CREATION_ERROR
        assert h3.get().status == 200

    def test_a_client_cannot_push(self) -> None:
        self.sends(b"\x01\x00").expect_closed(STREAM_CREATION_ERROR)

    def test_there_is_no_table_to_write_to(self) -> None:
        # An insertion, and an acknowledgement of what was never sent.
        self.sends(b"\x02\x4a" + b"custom-key").expect_closed(ENCODER_STREAM_ERROR)
        self.sends(b"\x03\x80").expect_closed(DECODER_STREAM_ERROR)

    def test_a_cancelled_stream_and_no_capacity_are_sound(self) -> None:
        h3 = self.sends(b"\x03\x44\x7f\x80\x01")
        h3.open_raw(b"\x02\x20", is_unidirectional=True)
        asked = h3.open_raw(frame(HEADERS, section(GET)), end=True)
        h3.until(lambda: asked.got.ended, "an answer")
