"""What a process asks of the kernel, and what that is made to answer."""

import re
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

from language.proxies import SpawnedEngine
from language.scope import keep
from language.waiting import eventually

COUNTED = re.compile(r"([a-z_]+)\(.* = ([0-9]+)$")
IPV4, UNREACHABLE, FRAGMENTATION_NEEDED = 0x45, 3, 4


class Traced:
    """What a process asks of the kernel while this is open; with `failing` each fails with that error."""

    def __init__(self, running: SpawnedEngine, calls: str, failing: str | None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "trace"
        process = running.process.pid
        what = [f"trace={calls}"] + ([f"inject={calls}:error={failing}"] if failing is not None else [])
        options = [word for one in what for word in ("-e", one)]
        self._strace = subprocess.Popen(
            ["strace", "-f", "-qq", *options, "-s", "0", "-o", self._file, "-p", str(process)]
        )
        status = Path(f"/proc/{process}/status")
        eventually(lambda: "TracerPid:\t0" not in status.read_text(), "strace watches")
        threads = Path(f"/proc/{process}/task")
        eventually(
            lambda: all("TracerPid:\t0" not in (one / "status").read_text() for one in threads.iterdir())
        )

    def end(self) -> dict[str, int]:
        """The sum of what each call has returned, of those that went well."""
        self._strace.terminate()
        self._strace.wait(20)
        moved: dict[str, int] = {}
        for line in self._file.read_text().splitlines():
            if found := COUNTED.search(line):
                moved[found[1]] = moved.get(found[1], 0) + int(found[2])
        return moved

    def close(self) -> None:
        self._strace.kill()
        self._strace.wait()
        self._folder.cleanup()


def traced(running: SpawnedEngine, calls: str, *, failing: str | None = None) -> Traced:
    return keep(Traced(running, calls, failing))


def say_too_large(source: tuple[str, int], target: tuple[str, int]) -> None:
    """Tells this machine, as a router would (RFC 1191), that a datagram from one address to another was too
    large."""
    ports = struct.pack("!HHHH", source[1], target[1], 108, 0)
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    datagram = (
        struct.pack("!BBHHHBBH", IPV4, 0, 128, 1, 0x4000, 64, socket.IPPROTO_UDP, 0) + addresses + ports
    )
    # No less than a path on this machine takes, so that nothing else changes.
    message = struct.pack("!BBHHH", UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 65_535) + datagram
    words = struct.unpack(f"!{len(message) // 2}H", message)
    total = sum(words)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as router:
        router.sendto(message[:2] + checksum.to_bytes(2, "big") + message[4:], (source[0], 0))
