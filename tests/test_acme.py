"""Certificates that are obtained by themselves, from an authority that looks for proofs in both ways."""

import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from language import Command, authority, command, eventually, origin, proxy
from language.pebble import HTTP_PORT, TLS_PORT, Pebble, pebble, wishes
from steelyard import config
from steelyard.errors import ConfigError

TEXT = """
[acme]
agree_tos = true
directory = "{directory}"
ca = "{ca}"
state = "{state}"
challenge = "{challenge}"

[listeners.web]
bind = ["{host}:{tls_port}"]
pool = "app"
tls = {{ acme = {names} }}

[listeners.plain]
bind = ["{host}:{http_port}"]
redirect_https = true

[pools.app]
endpoints = ["{endpoint}"]
"""
CHALLENGES = ["http-01", "tls-alpn-01"]


class Site:
    """`steelyard run`, for which an authority issues."""

    def __init__(
        self,
        issuer: Pebble,
        state: Path,
        challenge: str = "http-01",
        names: str = "a.example",
        by_way_of: tuple[str, Path] | None = None,
    ) -> None:
        self.issuer, self.state, self._challenge = issuer, state, challenge
        self._directory, self._ca = by_way_of or (issuer.directory, issuer.ca)
        self._endpoint = origin().start()
        self.running: Command = command(self.text(names))

    def text(self, *names: str) -> str:
        return TEXT.format(
            directory=self._directory,
            ca=self._ca,
            state=self.state,
            challenge=self._challenge,
            host=self.issuer.host,
            tls_port=TLS_PORT,
            http_port=HTTP_PORT,
            names=json.dumps(names),
            endpoint=self._endpoint.address,
        )

    def shown(self, name: str = "a.example") -> x509.Certificate | None:
        try:
            pem = served(self.issuer.host, name)
        except OSError:
            return None
        return x509.load_pem_x509_certificate(pem.encode())

    def is_issued(self, name: str = "a.example") -> bool:
        shown = self.shown(name)
        return shown is not None and "Pebble" in shown.issuer.rfc4514_string()

    def expect_issued(self, name: str = "a.example") -> None:
        try:
            eventually(lambda: self.is_issued(name), f"{name} is issued")
        except AssertionError as late:
            raise AssertionError(f"{self.running.errors()}\n{self.issuer.log()[-2000:]}") from late

    def told(self, name: str = "a.example") -> dict[str, Any]:
        status = json.loads(self.running.steelyard("status", "--json").stdout)
        (found,) = [one for one in status["acme"] if one["name"] == name]
        return dict(found)

    def bundle(self, name: str = "a.example") -> Path:
        (found,) = self.state.rglob(f"{name}.pem")
        return found


def served(host: str, name: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, TLS_PORT), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_a_certificate_is_obtained_and_put_in_force(challenge: str, tmp_path: Path) -> None:
    site = Site(pebble(), tmp_path, challenge)
    site.expect_issued()
    assert site.told()["state"] == "valid"
    assert "certificate for a.example: valid" in site.running.steelyard("status").stdout
    for file in (site.bundle(), site.bundle("account")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_a_name_that_a_reload_adds_leaves_the_others_alone(challenge: str, tmp_path: Path) -> None:
    site = Site(pebble(), tmp_path, challenge)
    site.expect_issued()
    before = site.shown()
    site.running.write(site.text("a.example", "b.example"))
    assert site.running.steelyard("reload").returncode == 0
    site.expect_issued("b.example")
    assert site.shown() == before


def test_nobody_else_is_shown_a_proof(tmp_path: Path) -> None:
    site = Site(pebble(), tmp_path, "tls-alpn-01")
    site.expect_issued()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    with (
        socket.create_connection((site.issuer.host, TLS_PORT), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"),
    ):
        context.wrap_socket(plain, server_hostname="a.example")


def test_whoever_looks_for_a_proof_is_shown_it_and_nothing_more() -> None:
    ca, server = authority(), origin().start()
    ours = ca.certificate("a.example")
    plan = proxy().pool(server).listener(tls={"certificates": [ours.files]})
    running = plan.listener("plain", redirect_https=443).start()
    proof = ca.certificate("a.example")
    shown = {"name": "a.example", "cert": proof.cert.read_text(), "key": proof.key.read_text()}
    running.engine.show(json.dumps({"http": {"token": "token.thumb"}, "tls": [shown]}))

    der, rest = handshake(running.listening(), "acme-tls/1")
    assert (der, rest) == (der_of(proof.cert), b"")
    der, rest = handshake(running.listening(), "acme-tls/1", "http/1.1")
    assert (der, rest[:12]) == (der_of(ours.cert), b"HTTP/1.1 200")
    der, rest = handshake(running.listening(), "http/1.1")
    assert (der, rest[:12]) == (der_of(ours.cert), b"HTTP/1.1 200")
    with socket.create_connection(running.listening("plain"), timeout=5) as plain:
        asked = (
            b"GET /.well-known/acme-challenge/token HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n"
        )
        plain.sendall(asked)
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    # Whitespace at its end does not count (RFC 8555 section 8.3).
    assert answer.rstrip().endswith(b"\r\n\r\ntoken.thumb")

    running.engine.show(json.dumps({"http": {}, "tls": []}))
    with pytest.raises(ssl.SSLError):
        handshake(running.listening(), "acme-tls/1")


def handshake(address: tuple[str, int], *protocols: str) -> tuple[bytes | None, bytes]:
    """The certificate that is shown, and what a request over the connection is answered."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    with (
        socket.create_connection(address, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="a.example") as secured,
    ):
        der = secured.getpeercert(binary_form=True)
        try:
            secured.sendall(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
            return der, b"".join(iter(lambda: secured.recv(4096), b""))
        except (ssl.SSLEOFError, ConnectionError):
            return der, b""


def der_of(file: Path) -> bytes:
    return x509.load_pem_x509_certificates(file.read_bytes())[0].public_bytes(Encoding.DER)


def test_a_restart_uses_what_is_there(tmp_path: Path) -> None:
    issuer = pebble()
    site = Site(issuer, tmp_path)
    site.expect_issued()
    before, asked = site.shown(), issuer.orders()
    assert asked == 1
    site.running.close()
    again = Site(issuer, tmp_path)
    eventually(again.is_issued, "it serves")
    assert again.told()["state"] == "valid"
    assert again.shown() == before
    assert issuer.orders() == asked


def test_nonces_that_are_refused_again_and_again_end_no_order(tmp_path: Path) -> None:
    issuer = pebble(refused_nonces=25)
    site = Site(issuer, tmp_path)
    site.expect_issued()
    assert issuer.orders() == 1
    assert "tried again" not in site.running.errors()


def test_what_is_about_to_end_is_renewed(tmp_path: Path) -> None:
    issuer = pebble()
    old = authority().certificate("a.example", begins_in_days=-80, ends_in_days=5)
    folder = tmp_path / "acme" / f"{issuer.host}_14000" / "certificates"
    folder.mkdir(parents=True)
    (folder / "a.example.pem").write_bytes(old.key.read_bytes() + old.cert.read_bytes())
    Site(issuer, tmp_path).expect_issued()


@pytest.mark.parametrize(("wished_in_days", "renewed"), [(-1, True), (5, False), (None, False)])
def test_what_the_authority_wishes_to_renew_is_renewed(
    wished_in_days: int | None, renewed: bool, tmp_path: Path
) -> None:
    issuer, ca = pebble(), authority()
    when = None if wished_in_days is None else datetime.now(UTC) + timedelta(days=wished_in_days)
    asked = wishes(issuer, ca, when)
    # Long before it would be renewed by itself.
    held = ca.certificate("a.example", begins_in_days=-10, ends_in_days=80)
    folder = tmp_path / "acme" / asked.directory.split("/")[2].replace(":", "_") / "certificates"
    folder.mkdir(parents=True)
    (folder / "a.example.pem").write_bytes(held.key.read_bytes() + held.cert.read_bytes())
    site = Site(issuer, tmp_path, by_way_of=(asked.directory, ca.file))
    if renewed:
        site.expect_issued()
    eventually(lambda: len(asked.asked) == 1, "it is asked for its wishes")
    # A reload does not ask again before it is time, and a new certificate is left alone.
    assert site.running.steelyard("reload").returncode == 0
    eventually(lambda: site.told()["state"] == "valid")
    assert (site.is_issued(), issuer.orders()) == (renewed, int(renewed))
    assert len(asked.asked) == 1


def test_a_stop_waits_for_no_authority(tmp_path: Path) -> None:
    issuer = pebble()
    issuer.freeze()
    site = Site(issuer, tmp_path)
    eventually(lambda: site.shown() is not None, "it serves all the same")
    assert site.told()["state"] == "waiting"
    site.running.send_signal(signal.SIGTERM)
    assert site.running.expect_exit() == 0
    # It has come to its own end: one that is held up is ended by the engine.
    last = json.loads(site.running.errors().splitlines()[-1])
    assert (last["message"], last["logger"]) == ("stopped", "steelyard")
    assert "Traceback" not in site.running.errors()


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_a_stop_in_the_middle_of_an_order_does_no_harm(challenge: str, tmp_path: Path) -> None:
    issuer = pebble(sleep_s=3)
    site = Site(issuer, tmp_path, challenge)
    eventually(
        lambda: "Pulled a task from the Tasks queue" in issuer.log(), "it is about to look for a proof"
    )
    site.running.send_signal(signal.SIGTERM)
    assert site.running.expect_exit() == 0
    assert "Traceback" not in site.running.errors()
    assert [one.name for one in site.bundle().parent.iterdir()] == ["a.example.pem"]
    site.running.close()
    again = Site(issuer, tmp_path, challenge)
    again.expect_issued()
    assert again.told()["state"] == "valid"


class TestWithoutTheLibraries:
    """The extra `acme` is not installed."""

    RUN = (
        "import sys; sys.modules.update(acme=None, josepy=None); from steelyard.cli import main; "
        "sys.exit(main())"
    )

    @pytest.mark.parametrize("verb", ["check", "run"])
    def test_what_needs_them_is_refused_with_the_way_out(self, verb: str, tmp_path: Path) -> None:
        (tmp_path / "steelyard.toml").write_text(SOUND)
        done = subprocess.run(
            [sys.executable, "-c", self.RUN, verb],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "steelyard.toml:2:2: acme: automatic certificates need libraries that are not installed\n"
            "hint: pip install 'steelyard[acme]'\n"
        )

    def test_who_obtains_nothing_needs_none(self, tmp_path: Path) -> None:
        text = SOUND.replace('tls = { acme = ["a.example"] }', "")
        text = (
            text.replace(":8443", ":0")
            .replace(":8080", ":0")
            .replace("redirect_https = true", 'pool = "app"')
        )
        running = command(text, run=self.RUN)
        running.expect_said(" listens: ")
        assert running.steelyard("reload").returncode == 0
        running.send_signal(signal.SIGTERM)
        assert running.expect_exit() == 0
        assert "Traceback" not in running.errors()


def test_an_authority_that_is_away_is_asked_again(tmp_path: Path) -> None:
    issuer = pebble()
    issuer.stop()
    site = Site(issuer, tmp_path)
    eventually(lambda: site.shown() is not None, "it serves all the same")
    site.running.expect_said("tried again in about 1 min")
    assert not site.is_issued()
    told = site.told()
    assert told["state"] == "failing"
    assert told["next_try"]
    assert "a.example" in told["error"]
    issuer.start()
    # A reload does not wait for the next try.
    assert site.running.steelyard("reload").returncode == 0
    site.expect_issued()
    assert site.told()["error"] is None


SOUND = TEXT.format(
    directory="https://localhost:1/dir",
    ca="ca.pem",
    state="state",
    challenge="http-01",
    host="127.0.0.1",
    tls_port=8443,
    http_port=8080,
    names='["a.example"]',
    endpoint="127.0.0.1:9001",
)


@pytest.mark.parametrize(
    ("was", "instead", "message"),
    [
        ("agree_tos = true", "agree_tos = false", "have not agreed"),
        ("https://localhost", "http://localhost", "expected the https://"),
        ('["a.example"]', '["*.example.org"]', "cannot be proved over HTTP or TLS"),
        ('["a.example"]', '["localhost"]', "no public host name"),
        ('["a.example"]', '"a.example"', "expected a list"),
        ('["a.example"]', "[]", "there is no certificate"),
        ('"http-01"', '"dns-01"', "dns-01"),
        ("[listeners.plain]", '[listeners.plain]\ntls = { acme = ["a.example"] }', "no listener speaks that"),
    ],
)
def test_what_is_wrong_is_said(was: str, instead: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "steelyard.toml"
    text = SOUND.replace(was, instead)
    path.write_text(text.replace("redirect_https = true\n", "") if "plain]\ntls" in text else text)
    with pytest.raises(ConfigError) as refused:
        config.load(path)
    assert message in str(refused.value)
    assert all(one.line and one.hint for one in refused.value.problems), refused.value.problems


def test_a_check_asks_for_no_certificate_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "steelyard.toml"
    path.write_text(SOUND)
    loaded = config.load(path)
    assert [one.name for one in tmp_path.iterdir()] == ["steelyard.toml"]
    path.write_text(config.show(loaded))
    assert config.load(path) == loaded
