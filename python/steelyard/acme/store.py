"""What must outlive the process: the account, and each certificate with its key; for their owner alone."""

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from steelyard.acme.keys import new_key, pem_of, self_signed
from steelyard.config import Config
from steelyard.config.acme import bundle_of
from steelyard.config.automatic import names_of
from steelyard.errors import SteelyardError

__all__ = ["Held", "Store", "prepare"]

TEMPORARY = "Steelyard: not issued yet"
TEMPORARY_LIFETIME = timedelta(days=365)
"""Of what stands in for a certificate: so long that nobody is warned of its end."""


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate that is there: the PEM of its chain, and from when to when it is valid (UTC)."""

    chain: bytes
    names: frozenset[str]
    begins: datetime
    ends: datetime


class Store:
    """The folder of one authority. Files are replaced in one step: whoever reads sees all or nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def account_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that the authority knows us by; made when there is none."""
        path = self._folder / "account.pem"
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            key = new_key()
            write(path, pem_of(key))
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} holds no elliptic-curve key")
        return key

    def held(self, path: Path) -> Held | None:
        """The certificate of a bundle; None where there is none that could be used."""
        try:
            bundle = path.read_bytes()
            leaf = x509.load_pem_x509_certificates(bundle)[0]
            load_pem_private_key(bundle, password=None)
            if leaf.issuer == leaf.subject:
                # It only stands in for one.
                return None
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
            return None
        names = frozenset(found.get_values_for_type(x509.DNSName))
        chain = bundle[bundle.index(b"-----BEGIN CERTIFICATE-----") :]
        return Held(chain, names, leaf.not_valid_before_utc, leaf.not_valid_after_utc)

    def keep(self, path: Path, key: bytes, chain: str) -> None:
        """Puts key and chain (PEM) into one file."""
        write(path, key + chain.encode())


def prepare(config: Config) -> None:
    """Where a certificate is still to be obtained, or is over, a temporary one stands in.

    That lets a listener start, and take the certificate in place of it when it is issued.
    """
    if config.acme is None:
        return
    for name in names_of(config):
        path = bundle_of(config.acme, name)
        try:
            if not is_usable(path):
                key = new_key()
                stand_in = self_signed(name, key, subject=TEMPORARY, lifetime=TEMPORARY_LIFETIME)
                write(path, pem_of(key) + stand_in)
        except OSError as error:
            raise SteelyardError(
                f"cannot keep the certificate for {name} in {path}: {(error.strerror or str(error)).lower()}",
                hint="let the user that runs steelyard write there, or name another folder: state in [acme]",
            ) from error


def is_usable(path: Path) -> bool:
    """Whether the engine will take what is there."""
    try:
        bundle = path.read_bytes()
        leaf = x509.load_pem_x509_certificates(bundle)[0]
        key = load_pem_private_key(bundle, password=None)
    except (FileNotFoundError, ValueError):
        return False
    in_time = leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc
    return in_time and leaf.public_key() == key.public_key()


def write(path: Path, content: bytes) -> None:
    # One after the other, since a mode is heeded for the last of several alone.
    for folder in (*reversed(path.parent.parents), path.parent):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
    # Made with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
