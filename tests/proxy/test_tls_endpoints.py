"""TLS towards endpoints: who is believed, what is shared, and that nothing goes out in clear text."""

import socket
import ssl
import threading
from typing import Any

import pytest

from language import (
    Authority,
    OpenSsl,
    Pair,
    Plan,
    Running,
    Scripted,
    authority,
    eventually,
    ok,
    origin,
    proxy,
    raw,
    request,
    scripted,
)


def terminator(ca: Authority, *names: str, **settings: Any) -> Running:
    """An endpoint that speaks TLS: another proxy, in front of an origin."""
    certificate = ca.certificate(*(names or ("127.0.0.1",)))
    tls = {"certificates": [certificate.files], **settings}
    return proxy().pool(origin().named("behind").start()).listener(tls=tls).start()


def address(running: Running, host: str = "127.0.0.1") -> str:
    return f"{host}:{running.port}"


def believing(ca: Authority, endpoint: str, **settings: Any) -> Plan:
    return proxy().pool(endpoint, tls={"ca": str(ca.file), **settings})


def failures(running: Running) -> int:
    return int(running.pool()["tls"]["failures"])


class TestWhoIsBelieved:
    def test_one_that_proves_its_address(self) -> None:
        ca = authority()
        behind = terminator(ca)
        running = believing(ca, address(behind)).start()
        assert request(running).origin == "behind"
        assert failures(running) == 0

    def test_one_that_proves_its_name_which_it_is_asked_for(self) -> None:
        ca = authority()
        asked: list[str | None] = []
        context = ca.server(ca.certificate("localhost"))
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        server = scripted(tls=context)
        running = believing(ca, f"localhost:{server.port}").start()
        with answering(server):
            assert request(running).status == 200
        assert asked == ["localhost"]

    def test_the_name_can_be_pinned(self) -> None:
        ca = authority()
        behind = terminator(ca, "app.internal")
        pinned = believing(ca, address(behind), server_name="app.internal")
        running = pinned.start()
        assert request(running).origin == "behind"
        running.apply(believing(ca, address(behind), server_name="other.internal"))
        assert request(running).status == 502

    @pytest.mark.parametrize("wrong", ["name", "authority", "expired", "not yet"])
    def test_nobody_else(self, wrong: str) -> None:
        ca, other = authority(), authority()
        pair = {
            "name": lambda: ca.certificate("elsewhere.example"),
            "authority": lambda: other.certificate("127.0.0.1"),
            "expired": lambda: ca.certificate("127.0.0.1", begins_in_days=-9, ends_in_days=-1),
            "not yet": lambda: ca.certificate("127.0.0.1", begins_in_days=1),
        }[wrong]()
        server = scripted(tls=ca.server(pair))
        running = believing(ca, server.address).start()
        with refused_by_the_proxy(server):
            assert request(running).status == 502
        assert failures(running) == 1
        assert running.endpoint(server)["failures"] == 1

    def test_anybody_where_nothing_is_verified(self) -> None:
        behind = terminator(authority(), "elsewhere.example")
        running = proxy().pool(address(behind), tls={"verify": False}).start()
        assert request(running).origin == "behind"

    def test_the_authorities_of_the_system_unless_others_are_named(self) -> None:
        behind = terminator(authority())
        running = proxy().pool(address(behind), tls={}).start()
        assert request(running).status == 502

    def test_who_we_are_is_proved_where_an_endpoint_asks(self) -> None:
        ca = authority()
        behind = terminator(ca, client_ca=str(ca.file))
        running = believing(ca, address(behind), **ca.certificate("us@a.example").files).start()
        assert request(running, target="/echo").seen("x-client-cert-san") == ["email:us@a.example"]
        running.apply(believing(ca, address(behind)))
        assert request(running).status == 502

    def test_the_oldest_version_can_be_chosen(self) -> None:
        ca = authority()
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1"), version="1.2"))
        running = believing(ca, server.address, min_version="1.3").start()
        with refused_by_the_proxy(server):
            assert request(running).status == 502

    def test_what_speaks_clear_text_is_told_nothing(self) -> None:
        ca = authority()
        server = scripted()
        running = believing(ca, server.address).start()
        connection = raw(running).get("/secret")
        at_server = server.accept()
        assert b"secret" not in at_server.read_exactly(5)
        at_server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.expect_response(502)
        assert b"secret" not in at_server.read_rest_of_all()

    def test_another_is_tried_where_one_cannot_prove_itself(self) -> None:
        ca = authority()
        good, bad = terminator(ca), terminator(authority())
        running = (
            proxy().pool(address(bad), address(good), policy="round_robin", tls={"ca": str(ca.file)}).start()
        )
        for _ in range(4):
            assert request(running).origin == "behind"
        assert failures(running) > 0


class TestConnections:
    def test_one_carries_many_requests(self) -> None:
        ca = authority()
        behind = terminator(ca)
        running = believing(ca, address(behind)).start()
        for _ in range(5):
            assert request(running).origin == "behind"
        assert behind.listener()["accepted"] == 1

    def test_none_is_used_under_other_rules_than_it_was_opened_under(self) -> None:
        ca = authority()
        behind = terminator(ca)
        plan = proxy().pool(address(behind), tls={"verify": False})
        running = plan.start()
        assert request(running).origin == "behind"
        # The same rules again change nothing.
        running.apply(plan)
        assert request(running).origin == "behind"
        assert behind.listener()["accepted"] == 1
        running.apply(believing(ca, address(behind)))
        assert request(running).origin == "behind"
        assert behind.listener()["accepted"] == 2

    def test_a_session_is_taken_up_again(self) -> None:
        ca = authority()
        behind = terminator(ca)
        running = believing(ca, address(behind)).start()
        running.apply(proxy().pool(address(behind), tls={"ca": str(ca.file)}, connections={"idle_max": 0}))
        for _ in range(3):
            assert request(running).origin == "behind"
        assert behind.listener()["tls"]["resumed"] == 2

    def test_what_is_for_tls_alone_spoils_no_idle_connection(self) -> None:
        ca = authority()
        server = OpenSslServer(ca.certificate("127.0.0.1"))
        running = believing(ca, server.address).start()
        for _ in range(2):
            connection = raw(running).get()
            server.expect("GET / HTTP/1.1")
            server.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.expect_response(200)
            # Other keys from here on, for both sides, which idle connections are looked through for.
            server.say("K\n")
            running.expect_to_live_on(1.2)
        assert running.endpoint(server.address)["connections"] == 1
        assert server.accepted == 1

    def test_a_unix_socket_proves_the_name_that_it_is_given(self, tmp_path: Any) -> None:
        ca = authority()
        path = tmp_path / "app.sock"
        tls = {"certificates": [ca.certificate("app.internal").files]}
        behind = proxy().pool(origin().named("behind").start()).listener(bind=[f"unix:{path}"], tls=tls)
        behind.start()
        running = believing(ca, f"unix:{path}", server_name="app.internal").start()
        assert request(running).origin == "behind"


class TestEnds:
    """How a body ends that is delimited by the end of the connection."""

    def answer_until_close(self, *, announced: bool) -> Any:
        ca = authority()
        server = scripted(tls=ca.server(ca.certificate("127.0.0.1")))
        running = believing(ca, server.address).start()
        connection = raw(running).get()
        at_server = server.accept()
        at_server.expect_request()
        at_server.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        if announced:
            at_server.end_tls()
        at_server.close()
        return connection

    def test_one_that_is_announced_is_whole(self) -> None:
        assert self.answer_until_close(announced=True).expect_response(200).body == b"hello"

    def test_one_that_is_not_has_been_cut_short(self) -> None:
        assert self.answer_until_close(announced=False).expect_cut_short(200) in (b"hello", b"")


class TestProbes:
    def test_they_go_over_tls_too(self) -> None:
        ca = authority()
        behind = terminator(ca)
        health = {"path": "/healthz", "interval_ms": 50, "timeout_ms": 50}
        running = proxy().pool(address(behind), tls={"ca": str(ca.file)}, health=health).start()
        eventually(lambda: running.verdict(address(behind)) == "healthy")
        health = {"interval_ms": 50, "timeout_ms": 50}
        running.apply(proxy().pool(address(behind), tls={"ca": str(ca.file)}, health=health))
        eventually(lambda: "over TLS" in running.endpoint(address(behind))["why"])

    def test_one_that_cannot_prove_itself_is_not_healthy(self) -> None:
        behind = terminator(authority())
        health = {"interval_ms": 50, "timeout_ms": 50, "fall": 1}
        tls = {"ca": str(authority().file)}
        running = proxy().pool(address(behind), tls=tls, health=health, fail_open=False).start()
        eventually(lambda: running.verdict(address(behind)) == "unhealthy")
        assert "invalid peer certificate" in running.endpoint(address(behind))["why"]
        assert request(running).status == 503

    def test_loads_are_asked_over_tls_too(self) -> None:
        ca = authority()
        behind = [terminator(ca), terminator(ca)]
        policy = {"name": "prequal", "probe_timeout_ms": 20_000}
        endpoints = [address(one) for one in behind]
        running = proxy().pool(*endpoints, policy=policy, tls={"ca": str(ca.file)}).start()
        assert request(running).origin == "behind"
        eventually(lambda: sum(one.listener()["requests"] for one in behind) > 1, "somebody was asked")
        assert sum(one.listener()["tls"]["failures"] for one in behind) == 0


class OpenSslServer(OpenSsl):
    """`openssl s_server`, which is told what to answer."""

    def __init__(self, pair: Pair) -> None:
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_3"]
        super().__init__([*command, "-cert", str(pair.cert), "-key", str(pair.key)])
        self.address = self.expect("ACCEPT 127.0.0.1:", to=b"\n").removeprefix("ACCEPT ").strip()

    @property
    def accepted(self) -> int:
        return self.everything.count(b"BEGIN SSL SESSION PARAMETERS")


class answering:
    """The server answers each request on its connections with 200, until all was asked."""

    def __init__(self, server: Scripted, *, times: int = 1) -> None:
        self._server, self._times = server, times
        self.connections: list[Any] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> list[Any]:
        self._thread.start()
        return self.connections

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        connection = self._server.accept()
        self.connections.append(connection)
        for _ in range(self._times):
            connection.expect_request()
            connection.send(ok())


class refused_by_the_proxy(answering):
    """The server's handshakes do not come to an end."""

    def _run(self) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError, socket.timeout)):
            self._server.accept().expect_request()
