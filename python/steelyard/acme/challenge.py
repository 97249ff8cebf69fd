"""How the authority is shown that a name is ours: an answer over HTTP, or a certificate in a handshake."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from acme import challenges
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier
from josepy.jwk import JWK

from steelyard.acme.store import new_key, pem_of

__all__ = ["Proofs", "proofs_of"]

ACME_IDENTIFIER = ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""RFC 8737: the extension that holds the proof."""
OCTET_STRING = 4
PROOF_LIFETIME = timedelta(days=7)


# The library knows no TLS challenge of its own any more, but lets others be added.
@challenges.ChallengeResponse.register
class TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    typ = "tls-alpn-01"


@challenges.Challenge.register
class TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """The challenge of RFC 8737."""

    typ = "tls-alpn-01"
    response_cls = TlsAlpn01Response

    def validation(self, account_key: JWK, **_: Any) -> bytes:
        """What the certificate must hold: a SHA-256."""
        return hashlib.sha256(self.key_authorization(account_key).encode()).digest()


@dataclass
class Proofs:
    """What the engine is to show while names are being proved."""

    http: dict[str, str] = field(default_factory=dict)
    """Answers by token."""
    tls: list[dict[str, str]] = field(default_factory=list)
    """Certificates: name, cert and key (PEM)."""

    def as_json(self) -> dict[str, Any]:
        return {"http": self.http, "tls": self.tls}


def proofs_of(asked: Sequence[tuple[str, challenges.Challenge]], account: JWK) -> Proofs:
    """What proves each name by its challenge."""
    proofs = Proofs()
    for name, challenge in asked:
        if isinstance(challenge, challenges.HTTP01):
            proofs.http[challenge.encode("token")] = challenge.validation(account)
        elif isinstance(challenge, TlsAlpn01):
            proofs.tls.append({"name": name, **certificate(name, challenge.validation(account))})
    return proofs


def certificate(name: str, proof: bytes) -> dict[str, str]:
    """A certificate that nobody trusts and that proves just this."""
    key, now = new_key(), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    extension = x509.UnrecognizedExtension(ACME_IDENTIFIER, bytes([OCTET_STRING, len(proof)]) + proof)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + PROOF_LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(extension, critical=True)
        .sign(key, hashes.SHA256())
    )
    return {"cert": signed.public_bytes(Encoding.PEM).decode(), "key": pem_of(key).decode()}
