"""The certificate that all of them show: P-256, signed by itself."""

import subprocess
from pathlib import Path

from harness.products.base import Certificate

NAME = "bench.example"


def make(folder: Path) -> Certificate:
    """Makes one for this run. nginx's worker reads nothing of it, its master may be another user."""
    certificate, key, both = (folder / name for name in ("site.pem", "site.key", "both.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-sha256", "-nodes", "-days", "30", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(certificate.read_text() + key.read_text())
    return Certificate(certificate=certificate, key=key, both=both)
