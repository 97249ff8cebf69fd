"""A browser that people use, through a listener of ours that speaks TLS."""

import base64
import hashlib
import shutil
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, Page, sync_playwright

from language import (
    Pair,
    Plan,
    authority,
    eventually,
    origin,
    proxy,
    scope,
    site,
)

UPLOAD_BYTES = 8 * 2**20
PROTOCOLS = {"h2": ["h2", "http/1.1"], "http/1.1": ["http/1.1"]}

SOCKET = """
async () => {
  const socket = window.socket = new WebSocket(`wss://${location.host}/socket`, "echo")
  socket.binaryType = "arraybuffer"
  await new Promise((opened, failed) => { socket.onopen = opened; socket.onerror = failed })
  return socket.protocol
}
"""
ECHO = """
async count => {
  const said = new Uint8Array(count).map((_, index) => index * 7)
  const heard = new Promise((told, failed) => {
    window.socket.onmessage = message => told(message.data)
    window.socket.onclose = () => failed(new Error("it was closed"))
  })
  window.socket.send(said)
  const back = new Uint8Array(await heard)
  return back.length === count && back.every((byte, index) => byte === said[index])
}
"""
LEAVE = """
async () => {
  const closed = new Promise(told => { window.socket.onclose = told })
  window.socket.send("close")
  const {code, reason, wasClean} = await closed
  return [code, reason, wasClean]
}
"""
EVENTS = """
async () => {
  const seen = [], source = new EventSource("/events")
  await new Promise((told, failed) => {
    source.onerror = () => failed(new Error(`after ${seen}`))
    source.onmessage = async event => {
      seen.push(event.data)
      if (seen.length === 3) source.close()
      await fetch("/seen", {method: "POST"})
      if (seen.length === 3) told()
    }
  })
  return seen
}
"""
UPLOAD = """
async count => {
  const body = new Uint8Array(count).map((_, index) => index % 251)
  const reply = await fetch("/upload", {method: "POST", body})
  return await reply.json()
}
"""
SPOKEN = """
() => performance.getEntries().filter(one => one.nextHopProtocol).map(one => one.nextHopProtocol)
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with scope(counting=False):
        yield authority().certificate("localhost")


@pytest.fixture(scope="module")
def browser(pair: Pair) -> Iterator[Browser]:
    """Debian's, which believes this one key, as a person does who has looked at it."""
    program = shutil.which("chromium")
    assert program, "there is no chromium: scripts/test-tools installs it"
    key = x509.load_pem_x509_certificate(pair.cert.read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    believed = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", believed])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """With connections of its own."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Through:
    """A page of a site behind a proxy."""

    def __init__(self, page: Page, pair: Pair, protocol: str) -> None:
        self.site = site()
        self.plan = self.plan_for(pair, protocol, "least_request")
        self.running = self.plan.start()
        self.page = page
        page.goto(f"https://localhost:{self.running.port}/")
        assert page.title() == "Through"

    def plan_for(self, pair: Pair, protocol: str, policy: str) -> Plan:
        tls = {"certificates": [pair.files], "alpn": PROTOCOLS[protocol]}
        return proxy().workers(2).pool(self.site, policy=policy).listener(tls=tls)

    def spoken(self) -> set[str]:
        """What the browser says of everything that it has fetched."""
        return set(self.page.evaluate(SPOKEN))


@pytest.fixture
def through(page: Page, pair: Pair, protocol: str) -> Through:
    return Through(page, pair, protocol)


def test_a_page_is_fetched_by_the_protocol_that_was_agreed(through: Through, protocol: str) -> None:
    through.page.evaluate("() => Promise.all(Array.from({length: 20}, (_, n) => fetch(`/?${n}`)))")
    assert through.spoken() == {protocol}
    if protocol == "h2":
        assert through.running.listener()["accepted"] == 1


def test_a_web_socket_echoes_both_ways(through: Through, protocol: str) -> None:
    before = through.running.listener()["accepted"]
    assert through.page.evaluate(SOCKET) == "echo"
    for count in (1, 70_000, 3 * 2**20):
        assert through.page.evaluate(ECHO, count)
    # Over HTTP/2 it is one more stream of the page's own connection.
    assert through.running.listener()["accepted"] == before + (protocol == "http/1.1")
    assert through.page.evaluate(LEAVE) == [4001, "as you wish", True]
    eventually(lambda: through.running.in_flight() == 0)


def test_events_come_one_by_one(through: Through, protocol: str) -> None:
    assert through.page.evaluate(EVENTS) == ["0", "1", "2"]
    assert through.spoken() == {protocol}


def test_a_large_body_is_uploaded(through: Through, protocol: str) -> None:
    body = (bytes(range(251)) * (UPLOAD_BYTES // 251 + 1))[:UPLOAD_BYTES]
    wanted = {"bytes": UPLOAD_BYTES, "sha256": hashlib.sha256(body).hexdigest()}
    assert through.page.evaluate(UPLOAD, UPLOAD_BYTES) == wanted
    assert through.spoken() == {protocol}


def test_a_page_with_a_web_socket_lives_on_through_a_reload(
    through: Through, pair: Pair, protocol: str
) -> None:
    through.page.evaluate(SOCKET)
    assert through.page.evaluate(ECHO, 1_000)
    generation = through.running.status()["generation"]
    for policy in ("round_robin", "p2c", "least_request"):
        plan = through.plan_for(pair, protocol, policy).pool(origin().start(), name=f"beside-{policy}")
        through.running.apply(plan)
        assert through.page.evaluate(ECHO, 1_000)
        assert through.page.evaluate("() => fetch('/').then(reply => reply.status)") == 200
    assert through.running.status()["generation"] == generation + 3
    assert through.site.sockets == 1
    through.page.reload()
    assert through.page.title() == "Through"
