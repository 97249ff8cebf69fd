"""HTTP/3 in front: requests of every shape reach endpoints of either version."""

import shutil
import subprocess
from typing import Any

import pytest

from language import authority, client, eventually, ok, origin, proxy, raw, refused_address, scripted
from language.exchange import expect_streams_in_flight
from language.http2_origins import http2_scripted
from language.http3 import HEADERS, frame, http3_client, section, speaking


def test_requests_of_every_shape() -> None:
    ca = authority()
    one = origin()
    h3 = http3_client(speaking(proxy().pool(one), ca).start(), ca)
    assert h3.get("/echo?a=b").json()["target"] == "/echo?a=b"
    assert h3.post("/echo", b"x" * 3_000_000).json()["body_bytes"] == 3_000_000
    assert h3.post("/echo", [b"ab", b"c"]).json()["body"] == "abc"
    assert len(h3.get("/bytes/3000000").body) == 3_000_000
    head = h3.request("HEAD", "/bytes/10")
    assert (head.status, head.body, head.get("content-length")) == (200, b"", "10")
    assert one.requests == 5


def test_the_endpoint_is_told_of_the_client() -> None:
    ca = authority()
    reply = http3_client(speaking(proxy().pool(origin()), ca).start(), ca).get("/echo")
    assert reply.seen("x-forwarded-proto") == ["https"]
    assert reply.seen("x-forwarded-for") == ["127.0.0.1"]
    assert reply.seen("host") == ["a.example"]
    assert reply.seen("early-data") == []


def test_the_status_counts_it_apart_and_with_the_others() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca).start()
    assert running.listener()["http3"] == {"connections": 0, "accepted": 0, "requests": 0, "too_early": 0}
    h3 = http3_client(running, ca)
    assert [h3.get().status for _ in range(3)] == [200] * 3
    listener = running.listener()
    assert listener["http3"] == {"connections": 1, "accepted": 1, "requests": 3, "too_early": 0}
    assert (listener["connections"], listener["requests"], listener["tls"]["handshakes"]) == (1, 3, 1)
    h3.leave()
    eventually(lambda: running.listener()["http3"]["connections"] == 0)
    running.expect_nothing_left()


def test_a_listener_that_does_not_speak_it_has_no_such_port() -> None:
    ca = authority()
    tls = {"certificates": [ca.certificate("a.example", "127.0.0.1").files]}
    running = proxy().pool(origin()).listener(tls=tls).start()
    assert running.listener()["http3"] is None
    assert client(running, tls=ca.believer()).get().get("alt-svc") is None


def test_many_streams_of_one_connection_are_balanced_one_by_one() -> None:
    ca = authority()
    servers = [origin(), origin(), origin()]
    running = speaking(proxy().pool(*servers, policy="round_robin"), ca).start()
    h3 = http3_client(running, ca)
    streams = [h3.open() for _ in range(60)]
    origins = [stream.expect_response(200).origin for stream in streams]
    assert {name: origins.count(name) for name in origins} == {one.name: 20 for one in servers}
    assert running.listener()["connections"] == 1


def test_several_workers_serve_several_clients() -> None:
    ca = authority()
    running = speaking(proxy().workers(3).pool(origin()), ca).start()
    clients = [http3_client(running, ca) for _ in range(12)]
    for _ in range(3):
        streams = [one.open("GET", "/bytes/20000") for one in clients]
        assert all(len(stream.expect_response(200).body) == 20_000 for stream in streams)
    assert running.listener()["http3"]["connections"] == 12


def test_streams_count_as_requests_in_flight() -> None:
    ca = authority()
    server = scripted()
    running = speaking(proxy().pool(server), ca).start()
    expect_streams_in_flight(running, server, http3_client(running, ca))


def test_a_get_that_ended_with_its_head_has_no_content() -> None:
    ca = authority()
    server = scripted()
    h3 = http3_client(speaking(proxy().pool(server), ca).start(), ca)
    asked = h3.open()
    connection = server.accept()
    request = connection.expect_request()
    assert request.get("transfer-encoding") is None
    assert request.get("content-length") is None
    connection.send(ok(b"fine"))
    assert asked.expect_response(200).body == b"fine"


def test_trailers_pass_both_ways_but_for_those_that_steer() -> None:
    ca = authority()
    server = scripted()
    h3 = http3_client(speaking(proxy().pool(server), ca).start(), ca)
    asked = h3.open("POST", "/", [("te", "trailers")], end=False)
    asked.send(b"abc").trailers([("x-sum", "1"), ("content-length", "9")])
    connection = server.accept()
    request = connection.expect_request("POST")
    assert (request.body, request.trailers) == (b"abc", [("x-sum", "1")])
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n")
    got = asked.expect_end()
    assert (bytes(got.body), got.trailers) == (b"abc", [("x-sum", "2")])


def test_interim_responses_pass() -> None:
    ca = authority()
    server = scripted()
    h3 = http3_client(speaking(proxy().pool(server), ca).start(), ca)
    asked = h3.open("POST", "/", [("expect", "100-continue"), ("content-length", "2")], end=False)
    connection = server.accept()
    connection.expect_request_head()
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    asked.expect_interim(100)
    asked.send(b"ab", end=True)
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert dict(asked.expect_interim(103))["link"] == "</a>"
    connection.send(ok(b"done"))
    assert asked.expect_response(200).body == b"done"


def test_crumbs_of_a_cookie_are_joined() -> None:
    ca = authority()
    h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
    stream = h3.open("GET", "/echo", [("cookie", "a=1"), ("x-a", "B"), ("cookie", "b=2")])
    reply = stream.expect_response(200)
    assert reply.seen("cookie") == ["a=1; b=2"]
    stream = h3.open("GET", "/echo", [("cookie", ""), ("cookie", "a=1"), ("cookie", "")])
    assert stream.expect_response(200).seen("cookie") == ["a=1"]
    assert reply.seen("x-a") == ["B"]


def test_frames_of_no_known_kind_are_passed_over() -> None:
    ca = authority()
    h3 = http3_client(speaking(proxy().pool(origin()), ca).start(), ca)
    h3.control(frame(0x21, b"grease"))
    h3.open_raw(b"\x40\x54" + b"whatever", is_unidirectional=True)
    stream = h3.open_raw(frame(0x21 + 0x1F, b"x" * 5000))
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/echo")]
    pieces = [frame(0x21, b""), frame(0, b"ab"), frame(0x40, b"x"), frame(0, b"c")]
    stream.raw(frame(HEADERS, section(head)) + b"".join(pieces))
    stream.raw(b"", end=True)
    assert stream.expect_response(200).json()["body"] == "abc"


def test_endpoints_that_speak_http2() -> None:
    ca = authority()
    server = http2_scripted()
    h3 = http3_client(speaking(proxy().pool(server, protocol="h2c"), ca).start(), ca)
    asked = h3.open("POST", "/x", [("content-length", "3")], end=False).send(b"abc", end=True)
    stream = server.accept().expect_request("POST", "/x")
    assert bytes(stream.got.body) == b"abc"
    stream.respond(200, b"fine", trailers=[("x-sum", "1")])
    got = asked.expect_end()
    assert (bytes(got.body), got.trailers) == (b"fine", [("x-sum", "1")])


def test_what_is_added_to_answers_comes_here_too() -> None:
    ca = authority()
    server = scripted()
    hsts = {"max_age_ms": 86_400_000, "include_subdomains": False, "preload": False}
    sticky = {"name": "sticky", "secret": "1" * 32}
    plan = (
        proxy()
        .pool(server, policy=sticky)
        .pool(refused_address(), name="none")
        .route(path="/none", pool="none")
    )
    h3 = http3_client(speaking(plan, ca, tls={"hsts": hsts}).start(), ca)
    asked = h3.open()
    connection = server.accept()
    connection.expect_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    answer = asked.expect_response(200)
    assert answer.get("date") is not None
    assert answer.get("strict-transport-security") == "max-age=86400"
    assert (answer.get("set-cookie") or "").startswith("steelyard=")
    ours = h3.request("HEAD", "/none")
    assert (ours.status, ours.body) == (502, b"")
    assert int(ours.get("content-length") or 0) > 0
    assert ours.get("strict-transport-security") == "max-age=86400"


class TestAltSvc:
    def test_it_is_told_over_tcp(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).start()
        expected = f'h3=":{running.port}"; ma=86400'
        secure = client(running, tls=ca.believer())
        assert secure.get().get("alt-svc") == expected
        running.apply(speaking(proxy().pool("127.0.0.1:1"), ca))
        assert secure.get("/").get("alt-svc") == expected, "in answers of our own too"
        assert http3_client(running, ca).get().get("alt-svc") is None

    @pytest.mark.parametrize(
        ("settings", "expected"), [({"advertise": False}, None), ({"port": 443}, 'h3=":443"; ma=86400')]
    )
    def test_it_may_be_off_or_name_another_port(self, settings: dict[str, Any], expected: str | None) -> None:
        ca = authority()
        tls = {"certificates": [ca.certificate("a.example", "127.0.0.1").files]}
        running = proxy().pool(origin()).listener(tls=tls, http3=settings).start()
        assert client(running, tls=ca.believer()).get().get("alt-svc") == expected

    def test_what_an_endpoint_says_of_it_stays(self) -> None:
        ca = authority()
        server = scripted()
        running = speaking(proxy().pool(server), ca).start()
        asking = raw(running, tls=ca.believer(), name="a.example").get()
        connection = server.accept()
        connection.expect_request()
        connection.send(ok(b"", "Alt-Svc: clear"))
        assert asking.expect_response(200).all("alt-svc") == ["clear"]

    def test_http2_is_told_too(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca, alpn=["h2"]).start()
        curl = shutil.which("curl")
        assert curl is not None, "curl is not installed"
        command = [curl, "-sS", "-D-", "-o/dev/null", "--http2", "--cacert", str(ca.file)]
        done = subprocess.run(
            [*command, f"https://127.0.0.1:{running.port}/"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.startswith("HTTP/2 200")
        assert f'alt-svc: h3=":{running.port}"; ma=86400' in done.stdout
