"""`prequal` from outside: endpoints are asked for their loads, and what they say decides."""

import asyncio
import contextlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvicorn

from language import (
    Plan,
    Running,
    ScriptedConnection,
    client,
    eventually,
    in_background,
    keep,
    load,
    origin,
    proxy,
    request,
    scripted,
)
from language.wire import PATIENCE_S
from steelyard.middleware import LOAD_PATH, LoadReport

# Everything shares two cores and one interpreter here.
PREQUAL = {"name": "prequal", "probe_timeout_ms": 20_000}


class Reporting:
    """A real server with the middleware in a thread of this process."""

    def __init__(self, name: str) -> None:
        self.gate = threading.Event()
        self._name = name.encode()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        config = uvicorn.Config(LoadReport(self._serve), lifespan="off", log_level="critical", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]})
        self._thread.start()

    def listening(self, listener: str = "") -> tuple[str, int]:
        host, _, port = self.address.partition(":")
        return host, int(port)

    def close(self) -> None:
        self.gate.set()
        self._server.should_exit = True
        self._thread.join(60)
        self._listening.close()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        while scope["path"] == "/waits" and not self.gate.is_set():
            await asyncio.sleep(0.01)
        headers = [(b"content-length", b"2"), (b"x-origin", self._name)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


def reporting(name: str) -> Reporting:
    return keep(Reporting(name))


def report_of(running: Running, server: Any) -> dict[str, Any]:
    return running.endpoint(server)["load_report"] or {}


def test_sends_fewer_requests_to_one_that_says_it_carries_more() -> None:
    servers = [reporting(str(number)) for number in range(3)]
    # From elsewhere, so that this proxy knows nothing of it but what the server says.
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(20))
        others = [threads.submit(request, servers[0], "GET", "/waits") for _ in range(20)]
        # One of three is a third of the distribution: it is hot by the median, not by the usual quantile.
        running = proxy().workers(2).pool(*servers, policy={**PREQUAL, "q_rif": 0.5}).start()
        one = client(running)
        eventually(
            lambda: one.get().status == 200 and report_of(running, servers[0]).get("in_flight", 0) >= 20
        )
        tally = load(running, requests=600, clients=4).expect_all(200, 600)
        servers[0].gate.set()
        assert {other.result().status for other in others} == {200}
    assert tally.origins["0"] < 60, tally.origins
    assert min(tally.origins["1"], tally.origins["2"]) > 60, tally.origins
    assert all(report_of(running, server)["silent"] is False for server in servers)


def test_endpoints_that_say_nothing_are_served_and_shown_as_silent() -> None:
    servers = [origin().named(str(number)).slow(delay_ms) for number, delay_ms in enumerate((1, 60))]
    running = proxy().pool(*servers, policy=PREQUAL).start()
    one = client(running)
    eventually(
        lambda: (
            one.get().status == 200 and all(report_of(running, server).get("silent") for server in servers)
        )
    )
    assert report_of(running, servers[0])["in_flight"] is None
    # What this proxy has seen of them stands in: one is fast.
    tally = load(running, requests=200, clients=1).expect_all(200, 200)
    assert tally.origins["0"] > 150, tally.origins


def test_an_unanswered_question_holds_no_request_up() -> None:
    deaf, served = scripted(), origin().named("0")
    running = proxy().pool(deaf, served, policy=PREQUAL).start()
    one = in_background(running)
    targets = []

    def attend() -> bool:
        if deaf.is_called():
            connection = deaf.accept()
            targets.append(connection.read_request().target)
            # Chance may have given it the request, which it answers; the question it never does.
            if targets[-1] != LOAD_PATH:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return one.is_over and LOAD_PATH in targets

    eventually(attend)
    assert one.reply().status == 200


def test_a_connection_that_takes_long_to_open_is_used_by_the_next_question() -> None:
    # There is room for one that nobody has accepted: the system has the next knock again, a second later.
    listener = keep(socket.create_server(("127.0.0.1", 0), backlog=0))
    listener.settimeout(PATIENCE_S)
    address = f"127.0.0.1:{listener.getsockname()[1]}"

    def under(policy: Any) -> Plan:
        patient, kept = {"connect_ms": 120_000}, {"idle_timeout_ms": None}
        return proxy().pool(address, policy=policy, timeouts=patient, connections=kept)

    running = under("round_robin").start()
    warm = in_background(running)
    line = keep(ScriptedConnection(listener.accept()[0]))

    def ask() -> None:
        asked = in_background(running)
        answer_one()
        assert asked.reply().status == 200

    def answer_one() -> None:
        line.expect_request(target="/")
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    answer_one()
    assert warm.reply().status == 200
    keep(socket.create_connection(listener.getsockname()))
    running.apply(under({**PREQUAL, "probe_timeout_ms": 500}))
    ask()
    running.expect_to_live_on(0.6)
    keep(listener.accept()[0])
    # The question that it was opened for is over.
    opened = keep(ScriptedConnection(listener.accept()[0]))
    running.apply(under(PREQUAL))
    ask()
    opened.expect_request(target=LOAD_PATH)
    body = b'{"in_flight": 7, "latency_ms": 1}'
    opened.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    eventually(lambda: report_of(running, address).get("in_flight") == 7)


def test_questions_follow_each_other_on_one_connection() -> None:
    server = scripted()
    running = proxy().pool(server, policy={**PREQUAL, "probe_path": "/my-load?x=1"}).start()
    first = in_background(running)
    lines: dict[str, ScriptedConnection] = {}
    for _ in range(2):
        connection = server.accept()
        lines[connection.read_request().target] = connection
    lines["/my-load?x=1"].send(
        b"HTTP/1.1 200 OK\r\nX-Steelyard-Load: in_flight=7, latency_ms=12.5\r\nContent-Length: 0\r\n\r\n"
    )
    lines["/"].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert first.reply().status == 200
    eventually(lambda: report_of(running, server).get("in_flight") == 7)
    assert report_of(running, server)["latency_s"] == pytest.approx(0.0125)

    second = in_background(running)
    lines["/my-load?x=1"].expect_request(target="/my-load?x=1")
    body = json.dumps({"in_flight": 8, "latency_ms": 1}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    lines["/my-load?x=1"].send(answer + body)
    lines["/"].expect_request(target="/")
    lines["/"].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert second.reply().status == 200
    eventually(lambda: report_of(running, server).get("in_flight") == 8)
    assert not server.is_called()
