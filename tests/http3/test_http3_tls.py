"""Certificates, mutual TLS, reloads and early data over QUIC."""

from cryptography.hazmat.primitives import hashes

from language import authority, eventually, origin, proxy, raw
from language.http3 import Http3Client, http3_begun, http3_client, speaking


def shown(h3: Http3Client) -> str:
    """The fingerprint of the certificate that the client was shown."""
    return str(h3.quic.tls._peer_certificate.fingerprint(hashes.SHA256()).hex())


def test_the_name_that_is_asked_for_decides() -> None:
    ca = authority()
    pairs = [ca.certificate(*names) for names in [("first.example",), ("a.example", "*.b.example")]]
    tls = {"certificates": [pair.files for pair in pairs]}
    running = proxy().pool(origin()).listener(tls=tls, http3=True).start()
    names = ("first.example", "a.example", "x.b.example")
    seen = {name: shown(http3_client(running, ca, name=name)) for name in names}
    certificates = [one["fingerprint"] for one in running.listener()["tls"]["certificates"]]
    assert seen == {
        "first.example": certificates[0],
        "a.example": certificates[1],
        "x.b.example": certificates[1],
    }


def test_a_new_certificate_is_shown_to_newcomers_and_nobody_is_dropped() -> None:
    ca = authority()
    pair = ca.certificate("a.example")
    tls = {"certificates": [pair.files]}
    plan = proxy().pool(origin()).listener(tls=tls, http3=True)
    running = plan.start()
    stays = http3_client(running, ca)
    assert stays.get().status == 200
    before = shown(stays)
    pair.replace_by(ca.certificate("a.example"))
    running.apply(plan)
    fresh = http3_client(running, ca)
    assert shown(fresh) != before
    assert fresh.get().status == 200
    assert stays.get().status == 200
    assert (stays.goaway, running.listener()["http3"]["accepted"]) == (None, 2)


def test_other_protocols_are_not_spoken_over_udp_nor_this_one_over_tcp() -> None:
    ca = authority()
    running = speaking(proxy().pool(origin()), ca).start()
    other = http3_begun(running, ca)
    other.quic._configuration.alpn_protocols = ["h2"]
    # no_application_protocol, as QUIC tells an alert.
    other.begin().expect_closed(0x100 + 120)
    over_tcp = raw(running, tls=ca.believer(alpn=["http/1.1"]), name="a.example")
    assert over_tcp.tls.selected_alpn_protocol() == "http/1.1"


class TestClients:
    def test_a_client_that_has_to_show_a_certificate_is_known_by_it(self) -> None:
        ca, clients = authority(), authority()
        running = speaking(proxy().pool(origin()), ca, tls={"client_ca": str(clients.file)}).start()
        pair = clients.certificate("robot@a.example", common_name="robot")
        reply = http3_client(running, ca, pair=pair).get("/echo")
        assert reply.seen("x-client-cert-subject") == ["CN=robot,O=Steelyard"]
        assert reply.seen("x-client-cert-san") == ["email:robot@a.example"]

    def test_one_without_is_refused(self) -> None:
        ca, clients = authority(), authority()
        one = origin()
        running = speaking(proxy().pool(one), ca, tls={"client_ca": str(clients.file)}).start()
        for pair in (None, ca.certificate("robot@a.example")):
            h3 = http3_begun(running, ca, pair=pair).begin()
            closed = h3.expect_closed()
            assert 0x100 <= closed.error_code < 0x200
        assert one.requests == 0
        eventually(lambda: running.listener()["tls"]["failures"] == 2)


class TestResumption:
    def test_a_session_is_taken_up_again_also_after_a_reload(self) -> None:
        ca = authority()
        pair = ca.certificate("a.example")
        plan = proxy().pool(origin()).listener(tls={"certificates": [pair.files]}, http3=True)
        running = plan.start()
        ticket = http3_client(running, ca).expect_ticket()
        assert ticket.max_early_data_size is None
        # Also with another certificate.
        pair.replace_by(ca.certificate("a.example"))
        running.apply(plan)
        again = http3_client(running, ca, ticket=ticket)
        assert again.handshake is not None
        assert (again.handshake.session_resumed, again.handshake.early_data_accepted) == (True, False)
        assert again.get().status == 200

    def test_other_rules_on_clients_take_up_no_session(self) -> None:
        ca, clients = authority(), authority()
        running = speaking(proxy().pool(origin()), ca).start()
        ticket = http3_client(running, ca).expect_ticket()
        asks = {"client_ca": str(clients.file), "client_auth": "optional"}
        running.apply(speaking(proxy().pool(origin()), ca, tls=asks))
        again = http3_client(running, ca, ticket=ticket)
        assert again.handshake is not None
        assert not again.handshake.session_resumed


class TestEarlyData:
    """A client that was here before sends requests together with the first packet of its handshake."""

    def test_it_is_off_unless_asked_for(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca).start()
        ticket = http3_client(running, ca).expect_ticket()
        assert ticket.max_early_data_size is None

    def test_what_is_safe_is_served_and_marked(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca, http3={"early_data": True}).start()
        ticket = http3_client(running, ca).expect_ticket()
        h3 = http3_begun(running, ca, ticket=ticket).prepare()
        reply = h3.open("GET", "/echo").expect_response(200)
        assert h3.handshake is not None
        assert h3.handshake.early_data_accepted
        assert reply.seen("early-data") == ["1"]
        # From here on nobody else can have sent it.
        assert h3.get("/echo").seen("early-data") == []
        assert h3.post("/echo", b"abc").json()["body"] == "abc"
        assert running.listener()["tls"]["handshakes"] == 2

    def test_nobody_is_believed_before_the_address_is_proved(self) -> None:
        ca = authority()
        believing = proxy().pool(origin())
        trusted = {"trusted_proxies": ["127.0.0.1/32"], "http3": {"early_data": True}}
        running = speaking(believing, ca, **trusted).start()
        ticket = http3_client(running, ca).expect_ticket()
        h3 = http3_begun(running, ca, ticket=ticket).prepare()
        said = [("x-forwarded-for", "10.9.9.9")]
        reply = h3.open("GET", "/echo", said).expect_response(200)
        assert reply.seen("early-data") == ["1"]
        assert reply.seen("x-forwarded-for") == ["127.0.0.1"]
        proved = h3.get("/echo", headers=dict(said))
        assert proved.seen("x-forwarded-for") == ["10.9.9.9, 127.0.0.1"]

    def test_what_is_not_is_told_to_wait(self) -> None:
        ca = authority()
        one = origin()
        running = speaking(proxy().pool(one), ca, http3={"early_data": True}).start()
        ticket = http3_client(running, ca).expect_ticket()
        h3 = http3_begun(running, ca, ticket=ticket).prepare()
        h3.open("POST", "/echo", [("content-length", "0")]).expect_response(425)
        assert one.requests == 0
        # Its client has done nothing wrong.
        counted = running.listener()
        assert (counted["bad_requests"], counted["http3"]["too_early"]) == (0, 1)
        assert h3.request("POST", "/echo", body=b"").status == 200

    def test_a_websocket_is_told_to_wait(self) -> None:
        ca = authority()
        one = origin()
        running = speaking(proxy().pool(one), ca, http3={"early_data": True}).start()
        ticket = http3_client(running, ca).expect_ticket()
        h3 = http3_begun(running, ca, ticket=ticket).prepare()
        pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/")]
        h3.open_with([*pseudo, (":authority", "a.example")], end=False).expect_response(425)
        assert one.requests == 0

    def test_a_handshake_that_begins_with_a_request_and_never_ends_is_given_up(self) -> None:
        ca = authority()
        one = origin()
        early = {"http3": {"early_data": True}, "timeouts": {"handshake_ms": 300}}
        running = speaking(proxy().pool(one), ca, **early).start()
        ticket = http3_client(running, ca).expect_ticket()
        http3_begun(running, ca, ticket=ticket).prepare().open()
        eventually(lambda: running.listener()["tls"]["failures"] == 1)
        eventually(lambda: running.listener()["connections"] == 1)
        assert one.requests == 1

    def test_a_session_is_good_for_one_early_request(self) -> None:
        ca = authority()
        running = speaking(proxy().pool(origin()), ca, http3={"early_data": True}).start()
        ticket = http3_client(running, ca).expect_ticket()
        outcomes = []
        for _ in range(2):
            h3 = http3_begun(running, ca, ticket=ticket).begin()
            h3.until(lambda h3=h3: h3.handshake is not None, "a handshake")
            assert h3.handshake is not None
            outcomes.append(h3.handshake.early_data_accepted)
            assert h3.get().status == 200
        assert outcomes == [True, False]

    def test_who_has_to_say_who_it_is_is_served_once_it_has(self) -> None:
        ca, clients = authority(), authority()
        tls = {"client_ca": str(clients.file)}
        running = speaking(proxy().pool(origin()), ca, http3={"early_data": True}, tls=tls).start()
        pair = clients.certificate("robot@a.example", common_name="robot")
        ticket = http3_client(running, ca, pair=pair).expect_ticket()
        h3 = http3_begun(running, ca, pair=pair, ticket=ticket).prepare()
        reply = h3.open("GET", "/echo").expect_response(200)
        assert reply.seen("x-client-cert-subject") == ["CN=robot,O=Steelyard"]
        assert reply.seen("early-data") == []
