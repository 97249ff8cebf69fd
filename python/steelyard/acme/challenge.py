"""How the authority is shown that a name is ours: an answer over HTTP, or a certificate in a handshake."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from acme import challenges
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from josepy.jwk import JWK

from steelyard.acme.keys import new_key, pem_of, self_signed

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
    key = new_key()
    extension = x509.UnrecognizedExtension(ACME_IDENTIFIER, bytes([OCTET_STRING, len(proof)]) + proof)
    cert = self_signed(name, key, subject=name, lifetime=PROOF_LIFETIME, critical=extension)
    return {"cert": cert.decode(), "key": pem_of(key).decode()}
