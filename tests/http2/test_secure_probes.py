"""Health checks and questions for loads speak what the pool speaks, over TLS too."""

import ssl
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from language import Authority, Running, authority, eventually, in_background, keep, origin, proxy
from language.grpc import PATIENCE_S, grpc_client, grpc_runs_once, grpc_server
from language.http2 import NO_ERROR, Stream
from language.http2_origins import Http2Scripted, Http2Server, http2_origin, http2_scripted
from steelyard.middleware import LOAD_PATH

PROBES = {"interval_ms": 100, "timeout_ms": 100, "rise": 1, "fall": 1}
# Answered by nothing that is a report.
QUESTIONS_TO_BE_SILENT = 3
PREQUAL = {"name": "prequal", "probe_timeout_ms": 20_000, "probe_path": "/my-load?x=1"}


@pytest.fixture(scope="module", autouse=True)
def grpc_has_run() -> None:
    grpc_runs_once()


def context(ca: Authority, *alpn: str) -> ssl.SSLContext:
    return ca.server(ca.certificate("127.0.0.1"), alpn=alpn)


def why(running: Running, server: Any) -> str:
    return str(running.endpoint(server)["why"])


def take_in(lines: dict[str, Http2Server], server: Http2Scripted) -> None:
    """Accepts connections until there is one for requests and one for questions, by the paths asked for."""
    while len(lines) < 2:
        connection = server.accept()
        connection.until(lambda connection=connection: connection.requests, "a request")
        first = Stream(connection, connection.requests[0])
        lines[dict(first.expect_head())[":path"]] = connection


class TestHealth:
    @pytest.mark.parametrize("protocol", ["h2", "auto"])
    def test_a_service_of_grpc_over_tls(self, protocol: str) -> None:
        ca = authority()
        server = grpc_server(tls=ca.certificate("127.0.0.1"))
        health = {"grpc": "app", **PROBES, "timeout_ms": 100}
        running = proxy().pool(server, protocol=protocol, tls={"ca": str(ca.file)}, health=health).start()
        eventually(lambda: running.verdict(server) == "unhealthy")
        eventually(lambda: "does not know the service" in why(running, server))
        server.health.set("app", health_pb2.HealthCheckResponse.SERVING)
        eventually(lambda: running.verdict(server) == "healthy")
        assert "SERVING in" in why(running, server)
        grpc_client(running.port).unary(b"x", timeout=PATIENCE_S)
        server.health.set("app", health_pb2.HealthCheckResponse.NOT_SERVING)
        eventually(lambda: "NOT_SERVING" in why(running, server))

    def test_a_server_of_grpc_that_cannot_prove_itself(self) -> None:
        server = grpc_server(tls=authority().certificate("127.0.0.1"))
        tls = {"ca": str(authority().file)}
        running = proxy().pool(server, protocol="h2", tls=tls, health={"grpc": "", **PROBES}).start()
        eventually(lambda: "invalid peer certificate" in why(running, server))

    @pytest.mark.parametrize("protocol", ["h2", "auto"])
    def test_a_path_over_http2(self, protocol: str) -> None:
        ca = authority()
        server = http2_scripted(tls=context(ca, "h2"))
        health = {"path": "/healthz", **PROBES, "interval_ms": 5_000, "timeout_ms": 5_000}
        running = proxy().pool(server, protocol=protocol, tls={"ca": str(ca.file)}, health=health).start()
        stream = server.accept().expect_request(target="/healthz")
        head = dict(stream.expect_head())
        assert (head[":scheme"], head[":authority"]) == ("https", server.address)
        stream.respond(204)
        eventually(lambda: "204 in" in why(running, server))

    def test_a_path_over_http1_where_the_endpoint_chose_that(self) -> None:
        ca = authority()
        tls = {"certificates": [ca.certificate("127.0.0.1").files], "alpn": ["http/1.1"]}
        behind = proxy().pool(origin().start()).listener(tls=tls).start()
        endpoint = f"127.0.0.1:{behind.port}"
        health = {"path": "/healthz", **PROBES}
        running = proxy().pool(endpoint, protocol="auto", tls={"ca": str(ca.file)}, health=health).start()
        eventually(lambda: "200 in" in why(running, endpoint))
        running.apply(
            proxy().pool(endpoint, protocol="auto", tls={"ca": str(ca.file)}, health={"grpc": "", **PROBES})
        )
        eventually(lambda: "chose HTTP/1.1" in why(running, endpoint))

    @pytest.mark.parametrize("health", [{}, {"path": "/"}, {"grpc": ""}], ids=["connect", "path", "grpc"])
    @pytest.mark.parametrize("alpn", [["http/1.1"], []], ids=["another", "nothing"])
    def test_one_that_does_not_agree_on_http2(self, health: dict[str, str], alpn: list[str]) -> None:
        ca = authority()
        tls = {"certificates": [ca.certificate("127.0.0.1").files], "alpn": alpn}
        behind = proxy().pool(origin().start()).listener(tls=tls).start()
        endpoint = f"127.0.0.1:{behind.port}"
        pool = proxy().pool(endpoint, protocol="h2", tls={"ca": str(ca.file)}, health={**health, **PROBES})
        running = pool.start()
        eventually(lambda: running.verdict(endpoint) == "unhealthy")
        assert "does not agree on HTTP/2" in why(running, endpoint)

    def test_a_connection_alone(self) -> None:
        ca = authority()
        server = http2_origin(tls=context(ca, "h2"))
        running = proxy().pool(server, protocol="h2", tls={"ca": str(ca.file)}, health=PROBES).start()
        eventually(lambda: "connected over TLS" in why(running, server))


class TestLoads:
    """`prequal` asks in the version that requests go in."""

    def answer(self, question: Stream, in_flight: int, *, by: str) -> None:
        if by == "field":
            question.respond(200, fields=[("x-steelyard-load", f"in_flight={in_flight}, latency_ms=12.5")])
        else:
            question.respond(200, b'{"in_flight": %d, "latency_ms": 12.5}' % in_flight)

    @pytest.mark.parametrize("by", ["field", "body"])
    @pytest.mark.parametrize("protocol", ["h2c", "h2", "auto"])
    def test_questions_are_streams_of_one_connection(self, protocol: str, by: str) -> None:
        ca = authority()
        secure = protocol != "h2c"
        server = http2_scripted(tls=context(ca, "h2") if secure else None)
        tls = {"ca": str(ca.file)} if secure else None
        running = proxy().pool(server, protocol=protocol, tls=tls, policy=PREQUAL).start()
        lines: dict[str, Http2Server] = {}
        for number in range(3):
            asked = in_background(running)
            take_in(lines, server)
            question = lines[PREQUAL["probe_path"]].expect_request(target=PREQUAL["probe_path"])
            head = dict(question.expect_head())
            assert head[":scheme"] == ("https" if secure else "http")
            self.answer(question, 7 + number, by=by)
            lines["/"].expect_request().respond(200)
            assert asked.reply().status == 200
            said = lambda: (running.endpoint(server)["load_report"] or {}).get("in_flight")  # noqa: E731
            eventually(lambda number=number, said=said: said() == 7 + number)
        assert not server.is_called()

    @pytest.mark.parametrize("protocol", ["h2", "auto"])
    def test_a_handshake_that_outlives_its_question_serves_the_next(self, protocol: str) -> None:
        ca = authority()
        secured = context(ca, "h2")
        server = http2_scripted(tls=secured)

        def under(policy: Any) -> Any:
            patient, kept = {"connect_ms": 120_000}, {"idle_timeout_ms": None}
            tls = {"ca": str(ca.file)}
            return proxy().pool(
                server, protocol=protocol, tls=tls, policy=policy, timeouts=patient, connections=kept
            )

        running = under("round_robin").start()
        warm = in_background(running)
        line = server.accept()
        line.expect_request().respond(200)
        assert warm.reply().status == 200

        def ask() -> None:
            asked = in_background(running)
            line.expect_request(target="/").respond(200)
            assert asked.reply().status == 200

        running.apply(under({**PREQUAL, "probe_timeout_ms": 500}))
        ask()
        slow = keep(server.accept_nothing())
        for _ in range(QUESTIONS_TO_BE_SILENT):
            running.expect_to_live_on(0.6)
            ask()
        running.expect_to_live_on(0.6)
        # That it takes long to get there says nothing of what it would say.
        assert not (running.endpoint(server)["load_report"] or {}).get("silent")
        assert not server.is_called()
        opened = keep(Http2Server(secured.wrap_socket(slow, server_side=True)))
        opened.begin()
        running.apply(under(PREQUAL))
        ask()
        self.answer(opened.expect_request(target=PREQUAL["probe_path"]), 7, by="body")
        eventually(lambda: (running.endpoint(server)["load_report"] or {}).get("in_flight") == 7)

    def test_in_http1_where_the_endpoint_chose_that(self) -> None:
        ca = authority()
        tls = {"certificates": [ca.certificate("127.0.0.1").files], "alpn": ["http/1.1"]}
        behind = proxy().pool(origin().start()).listener(tls=tls).start()
        endpoint = f"127.0.0.1:{behind.port}"
        policy = {"name": "prequal", "probe_timeout_ms": 20_000}
        running = proxy().pool(endpoint, protocol="auto", tls={"ca": str(ca.file)}, policy=policy).start()
        assert in_background(running).reply().status == 200
        eventually(lambda: behind.listener()["requests"] > 1, "it was asked")
        assert behind.listener()["bad_requests"] == 0

    @pytest.mark.parametrize("answer", ["404", "nonsense", "too large", "reset"])
    def test_what_is_no_report_is_none(self, answer: str) -> None:
        server = http2_scripted()
        running = proxy().pool(server, protocol="h2c", policy=PREQUAL).start()
        lines: dict[str, Http2Server] = {}

        for _ in range(QUESTIONS_TO_BE_SILENT):
            asked = in_background(running)
            take_in(lines, server)
            lines["/"].expect_request().respond(200)
            assert asked.reply().status == 200
            question = lines[PREQUAL["probe_path"]].expect_request(target=PREQUAL["probe_path"])
            match answer:
                case "404":
                    question.respond(404, b'{"in_flight": 3}')
                case "nonsense":
                    question.respond(200, b"{")
                case "too large":
                    question.respond(200, b" " * 60_000)
                case _:
                    question.reset()
            # The next question may be asked before this answer has been taken in, and then over another
            # connection: so each has one of its own.
            over = lines.pop(PREQUAL["probe_path"])
            over.h2.close_connection(NO_ERROR)
            over.h2.state_machine.state = type(over.h2.state_machine.state).SERVER_OPEN
            over.flush()
            over.expect_closed()
        eventually(lambda: (running.endpoint(server)["load_report"] or {}).get("silent"))
        assert running.endpoint(server)["load_report"]["in_flight"] is None
        assert not server.is_called()

    def test_none_is_asked_over_a_connection_of_other_rules(self) -> None:
        ca = authority()
        server = http2_scripted(tls=context(ca, "h2"))

        def under(**tls: Any) -> Any:
            return proxy().pool(server, protocol="h2", tls=tls, policy=PREQUAL)

        running = under(verify=False).start()
        for plan in (None, under(ca=str(ca.file))):
            if plan:
                running.apply(plan)
            asked = in_background(running)
            for _ in range(2):
                connection = server.accept()
                connection.until(lambda connection=connection: connection.requests, "a request")
                Stream(connection, connection.requests.pop(0)).respond(200)
            assert asked.reply().status == 200


def test_the_usual_path_is_that_of_the_middleware() -> None:
    server = http2_scripted()
    running = proxy().pool(server, protocol="h2c", policy="prequal").start()
    asked = in_background(running)
    targets = set()
    for _ in range(2):
        connection = server.accept()
        connection.until(lambda connection=connection: connection.requests, "a request")
        stream = Stream(connection, connection.requests.pop(0))
        targets.add(dict(stream.expect_head())[":path"])
        stream.respond(200)
    assert asked.reply().status == 200
    assert targets == {"/", LOAD_PATH}
