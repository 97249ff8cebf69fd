"""HTTP/2 over TLS behind: agreed on in the handshake, under the rules that hold for HTTP/1.1 over TLS."""

import ssl
import threading
from typing import Any

import pytest

from language import (
    Authority,
    Plan,
    Running,
    authority,
    eventually,
    in_background,
    keep,
    origin,
    proxy,
    request,
    scripted,
)
from language.http2 import NO_ERROR, http2_client
from language.http2_origins import Http2Server, http2_origin, http2_scripted

ONE_TRY = {"attempts": 1}


def context(ca: Authority, *names: str, **settings: Any) -> ssl.SSLContext:
    return ca.server(ca.certificate(*(names or ("127.0.0.1",))), alpn=["h2"], **settings)


def believing(ca: Authority, *endpoints: Any, tls: dict[str, Any] | None = None, **settings: Any) -> Plan:
    return proxy().pool(*endpoints, protocol="h2", tls={"ca": str(ca.file), **(tls or {})}, **settings)


def terminator(ca: Authority, *, alpn: list[str]) -> str:
    """An endpoint that speaks TLS: another proxy, in front of an origin."""
    tls = {"certificates": [ca.certificate("127.0.0.1").files], "alpn": alpn}
    return f"127.0.0.1:{proxy().pool(origin().named('behind').start()).listener(tls=tls).start().port}"


def failures(running: Running) -> int:
    return int(running.pool()["tls"]["failures"])


def test_requests_share_one_connection_and_know_that_it_is_secure() -> None:
    ca = authority()
    server = http2_scripted(tls=context(ca))
    running = believing(ca, server).start()
    asked = [in_background(running, f"/{number}") for number in range(20)]
    connection = server.accept()
    assert isinstance(connection.socket, ssl.SSLSocket)
    assert connection.socket.selected_alpn_protocol() == "h2"
    streams = [connection.expect_request() for _ in asked]
    eventually(lambda: running.endpoint(server)["in_flight"] == 20)
    assert running.endpoint(server)["connections"] == 1
    for stream in streams:
        assert dict(stream.expect_head())[":scheme"] == "https"
        stream.respond(200, b"ok")
    assert {one.reply().status for one in asked} == {200}
    running.expect_nothing_left()
    assert not server.is_called()
    assert failures(running) == 0


def test_the_name_is_asked_for_and_has_to_be_proved() -> None:
    ca = authority()
    asked: list[str | None] = []
    named = context(ca, "app.internal")
    named.sni_callback = lambda _socket, name, _context: asked.append(name)
    server = http2_origin(tls=named)
    running = believing(ca, server, tls={"server_name": "app.internal"}).start()
    assert request(running).origin == server.name
    assert asked == ["app.internal"]
    running.apply(believing(ca, server, tls={"server_name": "other.internal"}))
    assert request(running).status == 502
    assert failures(running) == 1


@pytest.mark.parametrize("wrong", ["name", "authority", "expired"])
def test_nobody_else_is_believed(wrong: str) -> None:
    ca, other = authority(), authority()
    pair = {
        "name": lambda: ca.certificate("elsewhere.example"),
        "authority": lambda: other.certificate("127.0.0.1"),
        "expired": lambda: ca.certificate("127.0.0.1", begins_in_days=-9, ends_in_days=-1),
    }[wrong]()
    server = http2_origin(tls=ca.server(pair, alpn=["h2"]))
    running = believing(ca, server).start()
    assert request(running).status == 502
    assert (server.requests, failures(running), running.endpoint(server)["failures"]) == (0, 1, 1)


def test_who_we_are_is_proved_where_an_endpoint_asks() -> None:
    ca = authority()
    server = http2_origin(tls=context(ca, asks=True, version="1.2"))
    ours = ca.certificate("us@a.example").files
    running = believing(ca, server, tls=ours).start()
    assert request(running).origin == server.name
    running.apply(believing(ca, server))
    assert request(running).status == 502


@pytest.mark.parametrize("says", ["nothing", "no"])
def test_one_that_does_not_agree_is_not_asked(says: str) -> None:
    ca = authority()
    if says == "nothing":
        # OpenSSL goes on without an agreement.
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1"), alpn=["http/1.1"]))
        shaking = threading.Thread(target=lambda: [server.accept().expect_gone() for _ in range(3)])
        shaking.start()
        endpoint = server.address
    else:
        shaking = threading.Thread()
        shaking.start()
        endpoint = terminator(ca, alpn=["http/1.1"])
    running = believing(ca, endpoint, retry=ONE_TRY).start()
    assert [request(running).status for _ in range(3)] == [502, 502, 502]
    shaking.join()
    assert failures(running) == 3
    assert "would not agree on HTTP/2" in running.endpoint(endpoint)["why"]


def test_another_is_tried_where_one_does_not_agree() -> None:
    ca = authority()
    good, bad = http2_origin(tls=context(ca)), terminator(ca, alpn=["http/1.1"])
    running = believing(ca, bad, good, policy="round_robin").start()
    for _ in range(4):
        assert request(running, "POST", body=b"x").origin == good.name


def test_the_same_rules_again_change_nothing_and_others_open_another_connection() -> None:
    ca = authority()
    server = http2_scripted(tls=context(ca))
    plan = proxy().pool(server, protocol="h2", tls={"verify": False})
    running = plan.start()
    client = http2_client(running)
    kept = client.open("GET", "/kept")
    old = server.accept()
    stream = old.expect_request(target="/kept")
    running.apply(plan)
    same = client.open("GET", "/same")
    old.expect_request(target="/same").respond(200)
    same.expect_response(200)
    running.apply(believing(ca, server))
    other = client.open("GET", "/other")
    new = server.accept()
    new.expect_request(target="/other").respond(200)
    other.expect_response(200)
    # What is open ends in peace, and with it the connection.
    stream.respond(200, b"late")
    assert kept.expect_response(200).body == b"late"
    old.expect_goaway(NO_ERROR)
    old.expect_closed()
    eventually(lambda: running.endpoint(server)["connections"] == 1)


def test_a_change_to_clear_text_ends_what_was_secure() -> None:
    ca = authority()
    server, plain = http2_scripted(tls=context(ca)), http2_origin()
    running = believing(ca, server).start()
    asked = in_background(running)
    connection = server.accept()
    connection.expect_request().respond(200)
    assert asked.reply().status == 200
    running.apply(proxy().pool(server, plain, protocol="h2c", policy="round_robin"))
    connection.expect_goaway(NO_ERROR)
    connection.expect_closed()


def test_a_handshake_that_fails_under_old_rules_is_no_matter_to_who_waits_under_new() -> None:
    ca = authority()
    server = http2_scripted()
    tls = context(ca)
    running = believing(authority(), server, retry=ONE_TRY).start()
    before = in_background(running, "/before")
    old = server.accept_nothing()
    running.apply(believing(ca, server, retry=ONE_TRY))
    after = in_background(running, "/after")
    new = server.accept_nothing()
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|closed"):
        tls.wrap_socket(old, server_side=True).recv(1)
    old.close()
    assert before.reply().status == 502
    assert not after.is_over
    serving = keep(Http2Server(tls.wrap_socket(new, server_side=True))).begin()
    serving.expect_request(target="/after").respond(200, b"ok")
    assert after.reply().body == b"ok"


def test_everybody_who_waited_for_a_connection_hears_why_there_is_none() -> None:
    ca = authority()
    server = http2_scripted()
    running = believing(ca, server, retry=ONE_TRY).start()
    asked = [in_background(running) for _ in range(3)]
    connection = server.accept_nothing()
    eventually(lambda: running.endpoint(server)["in_flight"] == 3)
    connection.close()
    assert {one.reply().status for one in asked} == {502}
    assert failures(running) == 1


def test_a_request_that_began_under_old_rules_keeps_to_them() -> None:
    """It is tried again after a reload, where an open connection is one that only the new rules believe."""
    ca = authority()
    stuck, server = http2_scripted(), http2_scripted(tls=context(ca))
    endpoints = (stuck, server)
    running = believing(authority(), *endpoints, policy="round_robin").start()
    before = in_background(running, "/before")
    waiting = stuck.accept_nothing()
    running.apply(believing(ca, *endpoints, policy="round_robin"))
    after = in_background(running, "/after")
    connection = server.accept()
    connection.expect_request(target="/after").respond(200)
    assert after.reply().status == 200
    waiting.close()
    with pytest.raises((OSError, AssertionError)):
        server.accept().expect_request()
    assert before.reply().status == 502
    assert connection.requests == []
