"""What the figures were measured on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from harness.products.base import REPOSITORY


def description() -> dict[str, str]:
    """The machine, its kernel, the commit and the date."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} cores visible",
        "memory": f"{_memory_kib() / 1024 / 1024:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "python": platform.python_version(),
        "rustc": _said(str(REPOSITORY / "scripts/rust"), "rustc", "--version"),
        "commit": _said("git", "describe", "--always", "--dirty", "--abbrev=12"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_kib() -> int:
    first = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(first.split()[1])


def _said(*command: str) -> str:
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return said.stdout.strip() if said.returncode == 0 else "unknown"
