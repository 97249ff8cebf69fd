"""The server's half of prequal: counting, medians by requests in flight, and real servers of both kinds."""

import asyncio
import http.client
import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import uvicorn

from language import eventually
from steelyard.middleware import LOAD_PATH, SAMPLES_MAX, LoadMeter, LoadReport, LoadReportWSGI, bucket_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def served(meter: LoadMeter, clock: Clock, took_s: float, *, beside: int = 0, good: bool = True) -> None:
    """One request that finds so many others in flight."""
    others = [meter.begin() for _ in range(beside)]
    begun = meter.begin()
    clock.now += took_s
    meter.end(begun, good=good)
    for other in others:
        # They teach nothing here.
        meter.end(other, good=False)


class TestMeter:
    def test_counts_what_is_in_flight(self) -> None:
        meter = LoadMeter()
        begun = [meter.begin() for _ in range(3)]
        assert meter.read() == (3, 0.0)
        for one in begun:
            meter.end(one, good=False)
        assert meter.read() == (0, 0.0)

    def test_gives_the_median_of_those_that_found_as_many_in_flight(self) -> None:
        clock = Clock()
        meter = LoadMeter(clock)
        for took_s in (0.01, 0.02, 0.09):
            served(meter, clock, took_s)
        served(meter, clock, 0.5, beside=4)
        assert meter.read() == (0, pytest.approx(20.0))
        for _ in range(4):
            meter.begin()
        assert meter.read() == (4, pytest.approx(500.0))

    def test_takes_the_nearest_where_there_are_none(self) -> None:
        clock = Clock()
        meter = LoadMeter(clock)
        served(meter, clock, 0.01)
        served(meter, clock, 0.5, beside=8)
        for _ in range(3):
            meter.begin()
        assert meter.read() == (3, pytest.approx(10.0))
        for _ in range(3):
            meter.begin()
        assert meter.read() == (6, pytest.approx(500.0))

    def test_prefers_what_is_recent(self) -> None:
        clock = Clock()
        meter = LoadMeter(clock)
        served(meter, clock, 0.01)
        clock.now += 1000
        served(meter, clock, 0.5, beside=8)
        assert meter.read() == (0, pytest.approx(500.0))
        clock.now += 1000
        assert meter.read() == (0, pytest.approx(10.0)), "all are old: the nearest"

    def test_keeps_the_newest(self) -> None:
        clock = Clock()
        meter = LoadMeter(clock)
        for took_s in [1.0] * SAMPLES_MAX + [0.1] * SAMPLES_MAX:
            served(meter, clock, took_s)
        assert meter.read() == (0, pytest.approx(100.0))

    def test_learns_no_time_from_failures(self) -> None:
        clock = Clock()
        meter = LoadMeter(clock)
        served(meter, clock, 0.2)
        for _ in range(50):
            served(meter, clock, 0.001, good=False)
        assert meter.read() == (0, pytest.approx(200.0))

    def test_ranges_are_in_order_and_without_gaps(self) -> None:
        buckets = [bucket_of(number) for number in range(5000)]
        assert buckets[:17] == list(range(17))
        assert all(after - before in (0, 1) for before, after in itertools.pairwise(buckets))

    def test_is_exact_over_threads(self) -> None:
        meter = LoadMeter()

        def work(_: int) -> None:
            for _ in range(2000):
                meter.end(meter.begin(), good=True)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        assert meter.read()[0] == 0

    def test_reports_json_that_the_engine_reads(self) -> None:
        assert json.loads(LoadMeter().report()) == {"in_flight": 0, "latency_ms": 0.0}


def test_loads_neither_a_web_framework_nor_the_configuration() -> None:
    text = (
        "import sys; import steelyard.middleware; "
        "frameworks = ('uvicorn', 'starlette', 'fastapi', 'pydantic', 'httpx'); "
        "print([name for name in frameworks if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout == b"[]\n"


def ask(port: int, path: str = LOAD_PATH, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path)
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


def load_of(port: int) -> dict[str, Any]:
    status, body = ask(port)
    assert status == 200
    report = json.loads(body)
    assert report.keys() == {"in_flight", "latency_ms"}
    return report  # type: ignore[no-any-return]


@contextmanager
def requests_in_background(port: int, path: str, count: int) -> Iterator[None]:
    with ThreadPoolExecutor(count) as threads:
        pending = [threads.submit(ask, port, path) for _ in range(count)]
        yield
        assert {one.result()[0] for one in pending} == {200}


class TestASGI:
    @pytest.fixture
    def gate(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture
    def port(self, gate: threading.Event) -> Iterator[int]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            if scope["path"] == "/fails":
                raise RuntimeError("as it was told")
            while scope["path"] == "/waits" and not gate.is_set():
                await asyncio.sleep(0.005)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(LoadReport(app), lifespan="off", log_level="critical", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        gate.set()
        server.should_exit = True
        thread.join(60)
        listening.close()

    def test_counts_what_is_under_way(self, port: int, gate: threading.Event) -> None:
        assert load_of(port) == {"in_flight": 0, "latency_ms": 0.0}
        with requests_in_background(port, "/waits", 3):
            eventually(lambda: load_of(port)["in_flight"] == 3)
            gate.set()
        eventually(lambda: load_of(port)["in_flight"] == 0)
        assert load_of(port)["latency_ms"] > 0

    def test_a_failure_is_counted_out(self, port: int) -> None:
        assert ask(port, "/fails")[0] == 500
        eventually(lambda: load_of(port) == {"in_flight": 0, "latency_ms": 0.0})

    def test_everything_else_is_the_applications(self, port: int) -> None:
        assert ask(port, "/x") == (200, b"hello")
        assert ask(port, LOAD_PATH, "HEAD") == (200, b"")


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = False


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class TestWSGI:
    @pytest.fixture
    def gate(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture
    def port(self, gate: threading.Event) -> Iterator[int]:
        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/bad":
                start_response("503 Service Unavailable", [])
                return [b"no"]
            if path == "/waits":
                gate.wait(60)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return pieces() if path == "/streams" else [b"hello"]

        def pieces() -> Iterator[bytes]:
            yield b"hel"
            gate.wait(60)
            yield b"lo"

        server = make_server("127.0.0.1", 0, LoadReportWSGI(app), ThreadingServer, Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        gate.set()
        server.shutdown()
        thread.join(60)
        server.server_close()

    @pytest.mark.parametrize("path", ["/waits", "/streams"])
    def test_counts_what_is_under_way(self, port: int, gate: threading.Event, path: str) -> None:
        assert load_of(port) == {"in_flight": 0, "latency_ms": 0.0}
        with requests_in_background(port, path, 3):
            eventually(lambda: load_of(port)["in_flight"] == 3)
            gate.set()
        eventually(lambda: load_of(port)["in_flight"] == 0)
        assert load_of(port)["latency_ms"] > 0

    def test_a_failure_teaches_no_time(self, port: int) -> None:
        assert ask(port, "/bad")[0] == 503
        assert load_of(port) == {"in_flight": 0, "latency_ms": 0.0}

    def test_everything_else_is_the_applications(self, port: int) -> None:
        assert ask(port, "/x") == (200, b"hello")


class TestBodies:
    """What a server may do with the body of a WSGI application."""

    def call(self, body: Iterable[bytes]) -> tuple[LoadMeter, Iterable[bytes]]:
        def app(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [])
            return body

        wrapped = LoadReportWSGI(app)
        return wrapped.meter, wrapped({"PATH_INFO": "/"}, lambda *_: None)

    def test_a_list_stays_one(self) -> None:
        meter, body = self.call([b"whole"])
        assert body == [b"whole"]
        assert meter.read()[0] == 0

    def test_a_body_that_is_closed_early_is_counted_out_once(self) -> None:
        closed = []

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                yield b"a"

            def close(self) -> None:
                closed.append(True)

        meter, body = self.call(Body())
        assert meter.read()[0] == 1
        body.close()  # type: ignore[attr-defined]
        body.close()  # type: ignore[attr-defined]
        assert (meter.read()[0], len(closed)) == (0, 2)

    def test_an_error_in_the_middle_is_counted_out(self) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"a"
            raise RuntimeError

        meter, body = self.call(pieces())
        with pytest.raises(RuntimeError):
            list(body)
        assert meter.read()[0] == 0
