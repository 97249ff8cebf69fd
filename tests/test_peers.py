"""Clients that nobody here wrote, in every combination of what is spoken in front and behind."""

import asyncio
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import websockets.exceptions
import websockets.sync.client

from language import Authority, Origin, Plan, Running, authority, eventually, origin, proxy, site
from language.http2_origins import Http2Origin, http2_origin

Behind = Origin | Http2Origin
BEHIND: dict[str, Callable[[], Behind]] = {"http1": origin, "h2c": http2_origin}
BODY = os.urandom(2**20)
# A load goes on until so many changes of the configuration have been put in force.
RELOADS = 12


class Front:
    """A listener in clear text or with TLS, whose plan can be made anew."""

    def __init__(self, *, tls: bool) -> None:
        self.ca: Authority | None = authority() if tls else None
        self.certificates = [self.ca.certificate("localhost").files] if self.ca else []

    def plan(self, *servers: Any, **settings: Any) -> Plan:
        tls = {"certificates": self.certificates, "alpn": ["h2", "http/1.1"]} if self.ca else None
        return proxy().workers(2).pool(*servers, **settings).listener(tls=tls)

    def url(self, running: Running, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}{'s' if self.ca else ''}://localhost:{running.port}{path}"


@pytest.fixture(params=["clear", "tls"])
def front(request: pytest.FixtureRequest) -> Front:
    return Front(tls=request.param == "tls")


# What curl is asked for, and what is then spoken; the old way to HTTP/2, by an upgrade, may be passed over.
ASKED = {
    ("clear", "--http1.1"): "1.1",
    ("clear", "--http1.0"): "1.1",
    ("clear", "--http2"): "1.1",
    ("clear", "--http2-prior-knowledge"): "2",
    ("tls", "--http1.1"): "1.1",
    ("tls", "--http2"): "2",
    ("tls", "--no-alpn"): "1.1",
}


@pytest.mark.parametrize("behind", BEHIND)
class TestCurl:
    @pytest.fixture(params=ASKED, ids=" ".join)
    def asked(self, request: pytest.FixtureRequest) -> tuple[str, str]:
        first, second = request.param
        return str(first), str(second)

    def curl(self, front: Front, flag: str, *arguments: str, body: bytes = b"") -> bytes:
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            flag,
            "--write-out",
            "%{stderr}spoken=%{http_version}\n",
        ]
        if front.ca:
            command += ["--cacert", str(front.ca.file)]
        done = subprocess.run(
            [*command, *arguments], input=body, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        self.spoken = set(re.findall(r"spoken=(\S+)", done.stderr.decode()))
        return done.stdout

    def test_up_down_and_at_once(self, asked: tuple[str, str], behind: str) -> None:
        wire, flag = asked
        front = Front(tls=wire == "tls")
        running = front.plan(BEHIND[behind](), protocol=behind).start()

        def url(path: str) -> str:
            return front.url(running, path)

        seen = json.loads(self.curl(front, flag, "--data-binary", "@-", url("/echo?a=b"), body=BODY))
        assert (seen["method"], seen["target"], seen["body_bytes"]) == ("POST", "/echo?a=b", len(BODY))
        if flag != "--http1.0":
            # Of unknown length, for which HTTP/1.0 has no words.
            seen = json.loads(self.curl(front, flag, "--upload-file", "-", url("/echo"), body=BODY))
            assert (seen["method"], seen["body_bytes"]) == ("PUT", len(BODY))
        assert len(self.curl(front, flag, url("/bytes/1000000"))) == 1_000_000
        assert b"content-length: 10\r\n" in self.curl(front, flag, "--head", url("/bytes/10")).lower()
        # Many at once. By prior knowledge curl 7.88 asks but once on a connection, of nghttpd as well.
        most = 10_000 if flag == "--http2-prior-knowledge" else 10_019
        many = self.curl(front, flag, "--parallel", url(f"/bytes/[10000-{most}]"))
        assert len(many) == sum(range(10_000, most + 1))
        assert self.spoken == {ASKED[asked]}
        running.expect_nothing_left()


class TestUnderLoad:
    """h2load asks without a pause while configurations follow one another: no request may be lost."""

    def loaded(self, url: str, *flags: str, while_it_runs: Callable[[], None]) -> str:
        command = ["h2load", "--clients=8", "--threads=1", "--requests=4000", *flags, url]
        rounds: list[str] = []
        done = threading.Event()

        def rounds_until_done() -> None:
            while not (done.is_set() and rounds):
                ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                rounds.append(ran.stdout + ran.stderr)

        thread = threading.Thread(target=rounds_until_done)
        thread.start()
        try:
            while_it_runs()
        finally:
            done.set()
            thread.join()
        for one in rounds:
            assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in one, one
            assert "status codes: 4000 2xx" in one, one
        return rounds[-1]

    @pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
    def test_no_request_is_lost_while_configurations_change(self, front: Front, protocol: str) -> None:
        servers = [origin().start() for _ in range(3)]
        running = front.plan(*servers).start()
        flags = ["--max-concurrent-streams=16"] if protocol == "h2" else ["--h1"]

        def change() -> None:
            for number in range(RELOADS):
                if front.ca and number % 4 == 0:
                    front.certificates = [front.ca.certificate("localhost").files]
                policy = ("round_robin", "p2c", "least_request")[number % 3]
                asked = running.listener()["requests"]
                running.apply(front.plan(*servers[number % 2 :], policy=policy))
                eventually(lambda asked=asked: running.listener()["requests"] > asked + 500)

        last = self.loaded(front.url(running), *flags, while_it_runs=change)
        in_clear_text = "c" if protocol == "h2" and not front.ca else ""
        assert f"Application protocol: {protocol}{in_clear_text}\n" in last
        assert running.status()["generation"] == RELOADS + 1
        running.expect_nothing_left()
        assert sum(one["failures"] for one in running.pool()["endpoints"]) == 0


class TestWebSockets:
    """A site of aiohttp behind; in front the clients that Python has."""

    def test_websockets(self, front: Front) -> None:
        running = front.plan(site()).start()
        trust = {"ssl": front.ca.believer()} if front.ca else {}
        url = front.url(running, "/socket", "ws")
        with websockets.sync.client.connect(
            url, subprotocols=[websockets.Subprotocol("echo")], max_size=None, **trust
        ) as socket:
            assert socket.subprotocol == "echo"
            # What it offers to compress with is between it and the site.
            assert [one.name for one in socket.protocol.extensions] == ["permessage-deflate"]
            for said in ("hello", "x" * 70_000, BODY, b""):
                socket.send(said)
                assert socket.recv(60) == said
            assert socket.ping().wait(60)
            socket.send("close")
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                socket.recv(60)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")
        eventually(lambda: running.in_flight() == 0)

    def test_aiohttp(self, front: Front) -> None:
        running = front.plan(site()).start()
        trust = front.ca.believer() if front.ca else True

        async def talk() -> tuple[int | None, list[Any]]:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(
                    front.url(running, "/socket"), ssl=trust, protocols=["echo"], compress=15, max_msg_size=0
                ) as socket,
            ):
                heard: list[Any] = [socket.protocol, bool(socket.compress)]
                await socket.send_str("hello")
                heard.append(await socket.receive_str())
                await socket.send_bytes(BODY)
                heard.append(await socket.receive_bytes())
                await socket.send_str("close")
                await socket.receive()
                return socket.close_code, heard

        assert asyncio.run(talk()) == (4001, ["echo", True, "hello", BODY])
        eventually(lambda: running.in_flight() == 0)

    def test_many_at_once_while_configurations_change(self, front: Front) -> None:
        where = site()
        running = front.plan(where).start()
        trust = front.ca.believer() if front.ca else True

        async def one(session: aiohttp.ClientSession, changed: asyncio.Event) -> None:
            async with session.ws_connect(front.url(running, "/socket"), ssl=trust) as socket:
                while not changed.is_set():
                    await socket.send_str("hello")
                    assert await socket.receive_str() == "hello"

        async def talk() -> None:
            changed = asyncio.Event()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                sockets = [asyncio.create_task(one(session, changed)) for _ in range(20)]
                while where.sockets < len(sockets):
                    await asyncio.sleep(0)
                for policy in ("p2c", "random", "round_robin"):
                    await asyncio.to_thread(running.apply, front.plan(where, policy=policy))
                changed.set()
                await asyncio.gather(*sockets)

        asyncio.run(talk())
        assert where.sockets == 20
        eventually(lambda: running.in_flight() == 0)
