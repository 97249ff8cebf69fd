"""Certificates made for a test, and the other side of TLS: OpenSSL, by way of Python's `ssl`."""

import contextlib
import ipaddress
import secrets
import ssl
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from language.raw import Reachable
from language.scope import keep

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PEM = serialization.Encoding.PEM
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path

    @property
    def files(self) -> dict[str, str]:
        """As a configuration names them."""
        return {"cert": str(self.cert), "key": str(self.key)}

    def replace_by(self, other: "Pair") -> None:
        """Its files hold what those of the other hold, each swapped at once."""
        for ours, theirs in ((self.cert, other.cert), (self.key, other.key)):
            draft = ours.with_suffix(".part")
            draft.write_bytes(theirs.read_bytes())
            draft.rename(ours)


class Authority:
    """A certificate authority with a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = named(f"Authority {secrets.token_hex(4)}")
        self._made = 0
        now = datetime.now(UTC)
        builder = self._builder(self._name, self._key, now - timedelta(days=30), now + timedelta(days=300))
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        self.file = self.folder / "ca.pem"
        self.file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(PEM))

    def _builder(
        self, name: x509.Name, key: Key, not_before: datetime, not_after: datetime
    ) -> x509.CertificateBuilder:
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        theirs = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = x509.CertificateBuilder(
            self._name, name, key.public_key(), x509.random_serial_number(), not_before, not_after
        )
        return builder.add_extension(ours, critical=False).add_extension(theirs, critical=False)

    def certificate(
        self,
        *names: str,
        key: Literal["ecdsa", "rsa"] = "ecdsa",
        begins_in_days: float = -1,
        ends_in_days: float = 89,
        common_name: str = "A test",
    ) -> Pair:
        """A certificate for names of hosts, addresses, or the e-mail address of a client."""
        now = datetime.now(UTC)
        not_before, not_after = now + timedelta(days=begins_in_days), now + timedelta(days=ends_in_days)
        made = (
            ec.generate_private_key(ec.SECP256R1())
            if key == "ecdsa"
            else rsa.generate_private_key(65_537, 2048)
        )
        builder = self._builder(named(common_name), made, not_before, not_after)
        for extension in (
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([alternative(name) for name in names]) if names else None,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        ):
            if extension is not None:
                builder = builder.add_extension(extension, critical=False)
        self._made += 1
        pair = Pair(self.folder / f"{self._made}.pem", self.folder / f"{self._made}.key")
        pair.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(PEM))
        no_password = serialization.NoEncryption()
        pair.key.write_bytes(made.private_bytes(PEM, serialization.PrivateFormat.PKCS8, no_password))
        return pair

    def believer(
        self,
        *,
        of: Pair | None = None,
        version: str | None = None,
        alpn: Iterable[str] = (),
        verify: bool = True,
    ) -> ssl.SSLContext:
        """What a client is told that believes this authority: who it is, and what it speaks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.file)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if of is not None:
            context.load_cert_chain(of.cert, of.key)
        return limited(context, version, alpn)

    def server(
        self, pair: Pair, *, asks: bool = False, version: str | None = None, alpn: Iterable[str] = ()
    ) -> ssl.SSLContext:
        """What a server is told that shows this certificate; it `asks` clients for theirs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        if asks:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return limited(context, version, alpn)

    def close(self) -> None:
        self._folder.cleanup()


def limited(context: ssl.SSLContext, version: str | None, alpn: Iterable[str]) -> ssl.SSLContext:
    if version is not None:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if protocols := list(alpn):
        context.set_alpn_protocols(protocols)
    return context


def named(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Steelyard")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def alternative(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)


def authority() -> Authority:
    return keep(Authority())


def names_of(certificate: Any) -> set[str]:
    """The names in what `getpeercert` gives."""
    return {value for _, value in certificate["subjectAltName"]}


class OpenSsl:
    """The command `openssl`, in which a person types: a line of K asks for other keys."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.everything = b""
        self._read = 0
        keep(self)

    def say(self, text: str) -> Self:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()
        return self

    def expect(self, text: str, *, to: bytes = b"") -> str:
        """Waits for a text and gives it back, up to `to` where that is more."""
        assert self._process.stdout is not None
        while True:
            start = self.everything.find(text.encode(), self._read)
            end = self.everything.find(to, start + len(text)) + len(to)
            if start >= 0 and end >= len(to):
                self._read = max(end, start + len(text))
                return self.everything[start : self._read].decode()
            piece = self._process.stdout.read1(65_536)  # type: ignore[attr-defined]
            assert piece, f"it ended before {text!r}: {self.everything[-500:]!r}"
            self.everything += piece

    def wait(self) -> None:
        """Until it has ended by itself."""
        assert self._process.stdout is not None
        self.everything += self._process.stdout.read()
        self._process.wait(60)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def openssl_client(proxy: Reachable, ca: Authority, *options: str, listener: str = "web") -> OpenSsl:
    """`openssl s_client`, which believes this authority."""
    host, port = proxy.listening(listener)
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "a.example"]
    return OpenSsl([*command, "-CAfile", str(ca.file), "-verify_return_error", *options])
