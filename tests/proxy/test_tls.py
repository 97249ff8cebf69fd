"""TLS towards clients: which certificate is shown, what is spoken, what becomes of who breaks the rules."""

import contextlib
import random
import socket
import ssl
from typing import Any

import pytest

from language import (
    Authority,
    Plan,
    Running,
    authority,
    client,
    eventually,
    names_of,
    openssl_client,
    origin,
    proxy,
    raw,
    request,
)
from language.wire import PATIENCE_S


def secure(ca: Authority, *names: str, **settings: Any) -> Plan:
    """A proxy in front of one origin, with a certificate for these names."""
    certificate = ca.certificate(*(names or ("a.example",)))
    tls = {"certificates": [certificate.files], **settings}
    return proxy().pool(origin().start()).listener(tls=tls)


def handshakes(running: Running) -> tuple[int, int, int]:
    """Those that went well, those of them that took up a session, and those that failed."""
    tls = running.listener()["tls"]
    return tls["handshakes"], tls["resumed"], tls["failures"]


class TestCertificates:
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_the_name_that_is_asked_for_decides(self, version: str) -> None:
        ca = authority()
        pairs = [
            ca.certificate(*names)
            for names in [("first.example",), ("a.example", "*.b.example"), ("c.b.example",)]
        ]
        plan = proxy().pool(origin().start())
        running = plan.listener(tls={"certificates": [pair.files for pair in pairs]}).start()

        def shown(name: str) -> set[str]:
            context = ca.believer(version=version)
            context.check_hostname = False
            return names_of(raw(running, tls=context, name=name).tls.getpeercert())

        assert shown("a.example") == {"a.example", "*.b.example"}
        assert shown("A.Example") == {"a.example", "*.b.example"}
        assert shown("x.b.example") == {"a.example", "*.b.example"}
        # The exact name before the wildcard, and a wildcard stands for one label.
        assert shown("c.b.example") == {"c.b.example"}
        assert shown("x.y.b.example") == {"first.example"}
        assert shown("elsewhere.example") == {"first.example"}

    def test_who_asks_for_no_name_is_shown_the_first(self) -> None:
        ca = authority()
        pairs = [ca.certificate("127.0.0.1"), ca.certificate("a.example")]
        plan = proxy().pool(origin().start())
        running = plan.listener(tls={"certificates": [pair.files for pair in pairs]}).start()
        connection = raw(running, tls=ca.believer(), name="127.0.0.1")
        assert names_of(connection.tls.getpeercert()) == {"127.0.0.1"}

    def test_of_two_for_one_name_the_one_that_the_client_knows_is_shown(self) -> None:
        ca = authority()
        pairs = [ca.certificate("a.example", key="ecdsa"), ca.certificate("a.example", key="rsa")]
        plan = proxy().pool(origin().start())
        running = plan.listener(tls={"certificates": [pair.files for pair in pairs]}).start()
        modern = ca.believer(version="1.2")
        assert raw(running, tls=modern).tls.cipher()[0].startswith("ECDHE-ECDSA")  # type: ignore[index]
        old = ca.believer(version="1.2")
        old.set_ciphers("aRSA")
        assert raw(running, tls=old).tls.cipher()[0].startswith("ECDHE-RSA")  # type: ignore[index]


class TestVersions:
    def test_the_oldest_can_be_chosen(self) -> None:
        ca = authority()
        running = secure(ca, min_version="1.3").start()
        assert raw(running, tls=ca.believer()).tls.version() == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            raw(running, tls=ca.believer(version="1.2"))
        assert handshakes(running) == (1, 0, 1)

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_each_is_spoken(self, version: str) -> None:
        ca = authority()
        running = secure(ca).start()
        connection = raw(running, tls=ca.believer(version=version))
        assert connection.tls.version() == f"TLSv{version}"
        connection.get().expect_response(200)
        connection.get().expect_response(200)

    def test_a_protocol_is_agreed_on_or_the_handshake_ends(self) -> None:
        ca = authority()
        running = secure(ca).start()
        agreed = raw(running, tls=ca.believer(alpn=["h2", "http/1.1"]))
        assert agreed.tls.selected_alpn_protocol() == "http/1.1"
        assert raw(running, tls=ca.believer()).tls.selected_alpn_protocol() is None
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            raw(running, tls=ca.believer(alpn=["spdy/3"]))


class TestRequests:
    def test_the_endpoint_hears_of_it(self) -> None:
        ca = authority()
        running = secure(ca, "127.0.0.1").start()
        reply = request(running, target="/echo", tls=ca.believer())
        assert reply.seen("x-forwarded-proto") == ["https"]
        assert reply.seen("forwarded") == [f'for=127.0.0.1;host="127.0.0.1:{running.port}";proto=https']

    def test_an_answer_goes_out_in_one_record_and_the_end_is_announced(self) -> None:
        ca = authority()
        running = secure(ca).start()
        connection = raw(running, tls=ca.believer()).get("/", "Connection: close")
        connection.expect_response(200)
        # An end without close_notify would raise.
        connection.expect_closed()

    def test_a_client_that_announces_its_end_is_not_missed(self) -> None:
        ca = authority()
        running = secure(ca).start()
        connection = raw(running, tls=ca.believer())
        connection.get().expect_response(200)
        connection.end_tls()
        eventually(lambda: running.listener()["connections"] == 0)

    def test_keys_can_change_within_a_connection(self) -> None:
        # Python's ssl cannot ask for it, the command can: a line of K changes both sides' keys.
        ca = authority()
        running = secure(ca).start()
        talk = openssl_client(running, ca, "-tls1_3")
        talk.say("GET /echo HTTP/1.1\r\nHost: a.example\r\n\r\n").expect("HTTP/1.1 200 OK")
        talk.say("K\n").expect("KEYUPDATE")
        talk.say("GET /status/203 HTTP/1.1\r\nHost: a.example\r\n\r\n").expect("HTTP/1.1 203")


class TestResumption:
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    @pytest.mark.parametrize(
        ("settings", "resumes"),
        [
            ({}, True),
            ({"tickets": False}, True),
            ({"session_cache": None}, True),
            ({"tickets": False, "session_cache": None}, False),
        ],
        ids=["both", "cache", "tickets", "neither"],
    )
    def test_a_session_is_taken_up_again(self, version: str, settings: dict[str, Any], resumes: bool) -> None:
        ca = authority()
        running = secure(ca, **settings).start()
        context = ca.believer(version=version)
        if not settings.get("tickets", True) and version == "1.2":
            context.options |= ssl.OP_NO_TICKET
        first = raw(running, tls=context)
        # With 1.3 the tickets come behind the handshake.
        first.get().expect_response(200)
        second = raw(running, tls=context, session=first.tls.session)
        second.get().expect_response(200)
        assert second.tls.session_reused is resumes
        assert handshakes(running) == (2, int(resumes), 0)

    def test_tickets_outlive_a_reload_and_another_certificate(self) -> None:
        ca = authority()
        plan = secure(ca)
        running = plan.start()
        context = ca.believer()
        first = raw(running, tls=context)
        first.get().expect_response(200)
        other = ca.certificate("a.example")
        running.apply(proxy().pool(origin().start()).listener(tls={"certificates": [other.files]}))
        assert raw(running, tls=context, session=first.tls.session).tls.session_reused

    def test_no_session_outlives_other_rules_on_who_may_come(self) -> None:
        ca, stranger = authority(), authority()
        certificate = ca.certificate("a.example").files

        def plan(clients: Authority) -> Plan:
            tls = {"certificates": [certificate], "client_ca": str(clients.file)}
            return proxy().pool("127.0.0.1:1").listener(tls=tls)

        running = plan(ca).start()
        context = ca.believer(of=ca.certificate("me@a.example"))
        first = raw(running, tls=context)
        first.get().expect_response(502)
        running.apply(plan(stranger))
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            raw(running, tls=context, session=first.tls.session).get().expect_response(502)
        assert handshakes(running)[1] == 0


class TestClients:
    """Mutual TLS."""

    FIELDS = ("x-client-cert-subject", "x-client-cert-san", "x-client-cert-fingerprint")

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_one_without_a_certificate_is_refused_where_it_must_have_one(self, version: str) -> None:
        ca = authority()
        running = secure(ca, client_ca=str(ca.file)).start()
        # With 1.3 the client hears of it when it first reads.
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required|handshake.failure"):
            raw(running, tls=ca.believer(version=version)).get().expect_response(200)
        eventually(lambda: handshakes(running) == (0, 0, 1))

    @pytest.mark.parametrize("auth", ["required", "optional"])
    def test_one_of_another_authority_is_refused(self, auth: str) -> None:
        ca, other = authority(), authority()
        running = secure(ca, client_ca=str(ca.file), client_auth=auth).start()
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
            raw(running, tls=ca.believer(of=other.certificate("me@a.example"))).get().expect_response(200)

    def test_the_endpoint_is_told_who_it_is(self) -> None:
        ca = authority()
        running = secure(ca, "127.0.0.1", client_ca=str(ca.file)).start()
        me = ca.certificate("me@a.example", common_name="Bj\u00f6rn, of a.example")
        reply = request(running, target="/echo", tls=ca.believer(of=me))
        (subject,) = reply.seen("x-client-cert-subject")
        assert subject.startswith("CN=Bj\\c3\\b6rn\\, of a.example,")
        assert reply.seen("x-client-cert-san") == ["email:me@a.example"]
        first = me.cert.read_text().partition("-----END CERTIFICATE-----")
        import hashlib

        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0] + first[1])).hexdigest()
        assert reply.seen("x-client-cert-fingerprint") == [digest]

    def test_nobody_can_pretend_to_be_another(self) -> None:
        ca = authority()
        running = secure(ca, "127.0.0.1", client_ca=str(ca.file), client_auth="optional").start()
        pretended = {
            "X-Client-Cert-Subject": "CN=admin",
            "X-CLIENT-CERT-SAN": "DNS:admin",
            "X-Client-Cert-Fingerprint": "00",
            "X_Client_Cert_Subject": "CN=admin",
            "Client-Cert": ":AAAA:",
            "Client-Cert-Chain": ":AAAA:",
        }
        reply = request(running, target="/echo", headers=pretended, tls=ca.believer())
        for name in (*pretended, *self.FIELDS):
            assert reply.seen(name) == [], name
        me = ca.certificate("me@a.example")
        reply = request(running, target="/echo", headers=pretended, tls=ca.believer(of=me))
        for name in self.FIELDS:
            (value,) = reply.seen(name)
            assert "admin" not in value

    def test_a_proxy_that_is_believed_may_tell_of_its_own_client(self) -> None:
        told = {"X-Client-Cert-Subject": "CN=me"}
        target = origin().start()
        running = proxy().pool(target).listener(trusted_proxies=["127.0.0.0/8"]).start()
        assert request(running, target="/echo", headers=told).seen("x-client-cert-subject") == ["CN=me"]
        running.apply(proxy().pool(target).listener())
        assert request(running, target="/echo", headers=told).seen("x-client-cert-subject") == []


class TestBadClients:
    def test_a_request_in_clear_text_is_told_so(self) -> None:
        running = secure(authority()).start()
        message = raw(running).get().expect_response(400)
        assert b"HTTPS" in message.body
        assert message.asks_to_close
        assert handshakes(running) == (0, 0, 1)
        assert running.listener()["bad_requests"] == 1

    @pytest.mark.parametrize(
        "nonsense",
        [
            b"\x16\x03\x01\x00\x05nonsense",
            b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
            b"\x00" * 100,
            b"\x80\x2e\x01\x03\x01" + b"\x00" * 60,
        ],
        ids=["no hello", "no end", "zeros", "SSL 2"],
    )
    def test_nonsense_ends_one_connection_alone(self, nonsense: bytes) -> None:
        ca = authority()
        running = secure(ca).start()
        other = raw(running, tls=ca.believer())
        bad = raw(running)
        try:
            bad.send(nonsense).half_close()
            while bad.socket.recv(65_536):
                pass
        except ConnectionError:
            pass
        other.get().expect_response(200)
        eventually(lambda: handshakes(running)[2] == 1)

    @pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
    def test_a_slow_handshake_is_ended(self, said: bytes) -> None:
        ca = authority()
        certificate = ca.certificate("a.example").files
        plan = proxy().pool(origin().start())
        running = plan.listener(tls={"certificates": [certificate]}, timeouts={"handshake_ms": 200}).start()
        raw(running).send(said).expect_closed()
        eventually(lambda: handshakes(running) == (0, 0, 1))
        raw(running, tls=ca.believer()).get().expect_response(200)

    def test_a_client_that_says_nothing_holds_up_no_stop(self) -> None:
        running = secure(authority()).start()
        silent = raw(running)
        eventually(lambda: running.listener()["connections"] == 1)
        running.stop()
        running.expect_stopped()
        silent.expect_closed()

    def test_whatever_is_changed_within_a_handshake_ends_one_connection_alone(self) -> None:
        ca = authority()
        running = secure(ca, client_ca=str(ca.file), client_auth="optional").start()
        hellos = [first_flight(ca.believer(version=version)) for version in ("1.2", "1.3")]
        chance = random.Random(7)
        for turn in range(400):
            flight = bytearray(hellos[turn % 2])
            for _ in range(chance.randrange(1, 4)):
                flight[chance.randrange(len(flight))] = chance.randrange(256)
            cut = chance.randrange(len(flight))
            one = raw(running)
            with contextlib.suppress(ConnectionError):
                one.send(bytes(flight[:cut])).send(bytes(flight[cut:])).half_close()
            one.read_rest_of_all()
            one.close()
        # That none of them ended in a panic is looked at when the proxy is closed.
        raw(running, tls=ca.believer()).get().expect_response(200)
        running.expect_nothing_left(clients=1)

    def test_a_record_that_was_changed_on_the_way_ends_the_connection(self) -> None:
        ca = authority()
        running = secure(ca).start()
        with Tampering(running.listening()) as between:
            context = ca.believer()
            connection = socket.create_connection(between.address, timeout=PATIENCE_S)
            with context.wrap_socket(connection, server_hostname="a.example") as secured:
                between.tamper()
                secured.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
                with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
                    secured.recv(100)
        running.expect_nothing_left()


def first_flight(context: ssl.SSLContext) -> bytes:
    """What a client says first."""
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="a.example").do_handshake()
    return sent.read()


class Tampering:
    """Carries bytes both ways, and when it is told to, changes one on its way to the proxy."""

    def __init__(self, to: tuple[str, int]) -> None:
        import threading

        self._to = to
        self._tamper = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Tampering":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._listener.close()

    def tamper(self) -> None:
        self._tamper = True

    def _run(self) -> None:
        import select

        near, _ = self._listener.accept()
        far = socket.create_connection(self._to)
        with near, far:
            while True:
                for one in select.select([near, far], [], [], PATIENCE_S)[0]:
                    piece = bytearray(one.recv(65_536))
                    if not piece:
                        return
                    if one is near and self._tamper:
                        piece[-1] ^= 1
                    (far if one is near else near).sendall(piece)


class TestHttps:
    def test_browsers_are_told_to_come_back_over_it(self) -> None:
        ca = authority()
        hsts = {"max_age_ms": 86_400_000, "include_subdomains": True, "preload": False}
        plan = secure(ca, "127.0.0.1", hsts=hsts).route(path="/none", respond=404)
        running = plan.listener("plain").start()
        name = "strict-transport-security"
        expected = "max-age=86400; includeSubDomains"
        one = client(running, tls=ca.believer())
        assert one.get("/").get(name) == expected
        # Answers of our own too.
        assert one.get("/none").get(name) == expected
        # RFC 6797 section 7.2: not in clear text.
        assert request(running, listener="plain").get(name) is None

    def test_an_endpoint_that_says_so_itself_is_left_its_word(self) -> None:
        from language import ok, scripted

        ca = authority()
        server = scripted()
        hsts = {"max_age_ms": 86_400_000, "include_subdomains": False, "preload": False}
        tls = {"certificates": [ca.certificate("a.example").files], "hsts": hsts}
        running = proxy().pool(server).listener(tls=tls).start()
        connection = raw(running, tls=ca.believer()).get()
        at_server = server.accept()
        at_server.expect_request()
        at_server.send(ok(b"", "Strict-Transport-Security: max-age=1"))
        assert connection.expect_response(200).all("strict-transport-security") == ["max-age=1"]

    def test_clear_text_can_be_sent_there(self) -> None:
        plan = proxy().pool("127.0.0.1:1").listener(redirect_https=443, trusted_proxies=["127.0.0.0/8"])
        running = plan.listener("other", redirect_https=8443).start()
        moved = request(running, target="/a/../b?c=d", headers={"Host": "a.example:8080"})
        assert (moved.status, moved.get("location")) == (308, "https://a.example/b?c=d")
        moved = request(running, "POST", listener="other", headers={"Host": "[::1]:80"}, body=b"x")
        assert (moved.status, moved.get("location")) == (308, "https://[::1]:8443/")
        # HTTP/1.0 need not name a host.
        raw(running).send(b"GET / HTTP/1.0\r\n\r\n").expect_response(400)
        # Behind one who has taken TLS off already that would go round in a circle.
        assert request(running, headers={"X-Forwarded-Proto": "https"}).status == 502
