"""Keys, and certificates that they sign for themselves."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["new_key", "pem_of", "self_signed"]

COMMON_NAME_MAX = 64
"""Characters (X.520)."""
EARLIER = timedelta(hours=1)
"""Clocks differ."""


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def self_signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    subject: str,
    lifetime: timedelta,
    critical: x509.ExtensionType | None = None,
) -> bytes:
    """A certificate (PEM) for a host name; `critical` is an extension that its readers must understand."""
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:COMMON_NAME_MAX])])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(common)
        .issuer_name(common)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
