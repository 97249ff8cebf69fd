"""An authority that speaks ACME: Pebble, with a name server that sends every name to this machine."""

import datetime
import json
import os
import signal
import ssl
import subprocess
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from language.plan import proxy
from language.scope import keep
from language.tls import Authority
from language.waiting import eventually

HTTP_PORT, TLS_PORT = 5002, 5001
DIRECTORY_PORT, MANAGEMENT_PORT, DNS_PORT, TEST_PORT = 14000, 15000, 8053, 8055


class Pebble:
    """Issues for any name, if whoever answers for it at `host` proves it."""

    def __init__(self, refused_nonces: int, sleep_s: int | None) -> None:
        self._refused_nonces, self._sleep_s = refused_nonces, sleep_s
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        # Its ports are its own at an address of its own: one that no other process of the tests uses.
        process = os.getpid()
        self.host = f"127.{16 + process % 200}.{process // 200 % 250}.1"
        self.ca = folder / "ca.pem"
        key = folder / "key.pem"
        self_signed(self.host, self.ca, key)
        self.directory = f"https://{self.host}:{DIRECTORY_PORT}/dir"
        self._log: IO[bytes] = (folder / "log").open("w+b")
        settings = {
            "listenAddress": f"{self.host}:{DIRECTORY_PORT}",
            "managementListenAddress": f"{self.host}:{MANAGEMENT_PORT}",
            "certificate": str(self.ca),
            "privateKey": str(key),
            "httpPort": HTTP_PORT,
            "tlsPort": TLS_PORT,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        dns = f"{self.host}:{DNS_PORT}"
        off = [part for flag in ("-http01", "-https01", "-tlsalpn01") for part in (flag, "")]
        names = ["-dns01", dns, "-management", f"{self.host}:{TEST_PORT}"]
        names += ["-defaultIPv4", self.host, "-defaultIPv6", ""]
        self._commands = (
            ("pebble-challtestsrv", *off, *names),
            ("pebble", "-config", str(folder / "pebble.json"), "-dnsserver", dns),
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """It answers; after a stop it remembers nothing."""
        self._processes = [self._run(*command) for command in self._commands]
        eventually(self._answers, "the authority answers")

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.send_signal(signal.SIGCONT)
        for process in self._processes:
            process.wait(timeout=30)
        self._processes = []

    def freeze(self) -> None:
        """Who connects waits, until it is closed."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def orders(self) -> int:
        """How many it has taken."""
        return self.log().count("Added order")

    def roots(self) -> str:
        """The certificate (PEM) that what it issues leads to."""
        context = ssl.create_default_context(cafile=str(self.ca))
        url = f"https://{self.host}:{MANAGEMENT_PORT}/roots/0"
        with urllib.request.urlopen(url, context=context, timeout=10) as reply:
            return str(reply.read().decode())

    def close(self) -> None:
        self.stop()
        self._log.close()
        self._folder.cleanup()

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        # It looks without the pause that shall teach patience, unless one is asked for; refusing good nonces
        # now and then stays on.
        pause = {"PEBBLE_VA_SLEEPTIME": str(self._sleep_s)} if self._sleep_s else {"PEBBLE_VA_NOSLEEP": "1"}
        environment = {**os.environ, **pause, "PEBBLE_WFE_NONCEREJECT": str(self._refused_nonces)}
        return subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)

    def _answers(self) -> bool:
        for process in self._processes:
            assert process.poll() is None, self.log()
        try:
            self.roots()
        except OSError:
            return False
        return True


def pebble(*, refused_nonces: int = 5, sleep_s: int | None = None) -> Pebble:
    """It refuses so many in a hundred good nonces, and takes up to `sleep_s` before it looks for a proof."""
    return keep(Pebble(refused_nonces, sleep_s))


class Wishes:
    """In front of an authority: an address for wishes in its directory (RFC 9773)."""

    def __init__(self, issuer: Pebble, ca: Authority, when: datetime.datetime | None) -> None:
        self.asked: list[str] = []
        wishes = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # It is reached by the name that the authority itself is asked by.
                base = f"https://{self.headers['host']}"
                answer: dict[str, object] = {name: f"{base}/{path}" for name, path in PATHS.items()}
                if self.path != "/dir":
                    wishes.asked.append(self.path)
                    answer = {"suggestedWindow": window(when)} if when else {"type": "about:blank"}
                body = json.dumps(answer).encode()
                self.send_response(200 if when or self.path == "/dir" else 500)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        pair = ca.certificate("127.0.0.1")
        # What Pebble shows signs itself.
        plan = proxy().pool(f"{issuer.host}:{DIRECTORY_PORT}", tls={"verify": False})
        plan.pool(f"127.0.0.1:{self._server.server_port}", name="wishes")
        plan.route(path="=/dir", pool="wishes").route(path="/wish/", pool="wishes")
        running = plan.listener(tls={"certificates": [pair.files]}).start()
        self.directory = f"https://127.0.0.1:{running.port}/dir"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


PATHS = {
    "newNonce": "nonce-plz",
    "newAccount": "sign-me-up",
    "newOrder": "order-plz",
    "revokeCert": "revoke-cert",
    "keyChange": "rollover-account-key",
    "renewalInfo": "wish",
}


def window(start: datetime.datetime) -> dict[str, str]:
    return {"start": start.isoformat(), "end": (start + datetime.timedelta(seconds=1)).isoformat()}


def wishes(issuer: Pebble, ca: Authority, when: datetime.datetime | None) -> Wishes:
    """An authority that wishes every certificate to be renewed at that time, or that fails when asked."""
    return keep(Wishes(issuer, ca, when))


def self_signed(host: str, cert: Path, key: Path) -> None:
    """A certificate for an address, and its key."""
    import ipaddress

    made, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(made, hashes.SHA256())
    )
    cert.write_bytes(signed.public_bytes(Encoding.PEM))
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
