"""One measurement: a fresh proxy on one core, load and endpoints on the other."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.processes import (
    LOAD_CORE,
    PROXY_CORE,
    core_busy_s,
    cpu,
    free_ports,
    resident_kib,
    running,
    wait_for_200,
)
from harness.products import FORWARDED_FIELDS, Place, Product

CONNECTIONS = 64
ENDPOINTS = 2
IDLE_CONNECTIONS = 3800

# A proxy that opens this many connections for each of the client's does not keep them alive.
ENDPOINT_CONNECTIONS_MAX = CONNECTIONS * 4

# More than this on the proxy's core that is not the proxy's, and a measurement is made again, so many times.
DISTURBANCE_MAX = 0.05
ATTEMPTS = 4


@dataclass(frozen=True)
class Length:
    """How long things take."""

    rounds: int
    warmup_s: float
    seconds: float


FULL = Length(rounds=5, warmup_s=1.0, seconds=5.0)
QUICK = Length(rounds=2, warmup_s=0.5, seconds=1.5)


@dataclass(frozen=True)
class Sample:
    """What one product did under one load."""

    requests: int
    errors: int
    rps: float
    offered_rps: float | None
    backlog: int
    user_us: float
    system_us: float
    total_us: float
    p50_us: float
    p99_us: float
    resident_kib: int
    # Shares of the proxy's core: what the proxy used, and what anything else did.
    core_share: float
    disturbance: float

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class IdleMemory:
    """What idle keep-alive connections cost."""

    before_kib: int
    after_kib: int
    connections: int
    still_open: int

    @property
    def kib_each(self) -> float:
        return (self.after_kib - self.before_kib) / self.connections


class Bench:
    """The endpoints, which stay, and the measurements that are made with them."""

    def __init__(self, binaries: Path, folder: Path, origins: list["_Origin"]) -> None:
        self._binaries = binaries
        self._folder = folder
        self._origins = origins

    @classmethod
    @contextlib.contextmanager
    def open(cls, binaries: Path) -> Iterator["Bench"]:
        """Starts the endpoints. The folder with every log is kept when something fails."""
        folder = Path(tempfile.mkdtemp(prefix="steelyard-bench-"))
        # nginx's worker is another user when root starts it.
        folder.chmod(0o755)
        ports = free_ports(ENDPOINTS)
        with contextlib.ExitStack() as stack:
            origins = []
            for index, port in enumerate(ports):
                name = f"origin-{index}"
                command = [
                    str(binaries / "steelyard-origin"),
                    "--listen",
                    f"127.0.0.1:{port}",
                    "--name",
                    name,
                ]
                pid = stack.enter_context(running(command, core=LOAD_CORE, folder=folder, name=name))
                origins.append(_Origin(port=port, pid=pid, log=folder / f"{name}.log"))
                wait_for_200(port, "/healthz", pid=pid, log=origins[-1].log)
            yield cls(binaries, folder, origins)
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def proxy(self, product: Product) -> Iterator[tuple[int, int]]:
        """Starts a product and checks that it does what all are to do; gives its process and its port."""
        (port,) = free_ports(1)
        folder = self._folder / product.name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        endpoints = tuple(origin.port for origin in self._origins)
        place = Place(port=port, endpoints=endpoints, folder=folder)
        with running(product.command(place), core=PROXY_CORE, folder=folder, name=product.name) as pid:
            log = folder / f"{product.name}.log"
            seen = json.loads(wait_for_200(port, "/echo", pid=pid, log=log))
            if product.parses:
                names = {name.lower() for name, _ in seen["headers"]}
                missing = [field for field in FORWARDED_FIELDS if field not in names]
                if missing:
                    raise RuntimeError(f"{product.name} does not set {', '.join(missing)}")
            yield pid, port

    def load(self, pid: int, port: int, length: Length, *, rate: float | None) -> Sample:
        """Loads a running proxy, as much as goes or at a rate, and reads what it used meanwhile.

        When something else ran on its core the measurement is made again. The last attempt counts as it is.
        """
        for _ in range(ATTEMPTS - 1):
            sample = self._load(pid, port, length, rate=rate)
            if sample.disturbance <= DISTURBANCE_MAX:
                return sample
        return self._load(pid, port, length, rate=rate)

    def _load(self, pid: int, port: int, length: Length, *, rate: float | None) -> Sample:
        opened = self._endpoint_connections()
        command = self._loadgen(port, "--connections", CONNECTIONS)
        command += ["--warmup", str(length.warmup_s), "--seconds", str(length.seconds)]
        if rate is not None:
            command += ["--rate", str(rate)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as generator:
            assert generator.stdout is not None
            if generator.stdout.readline() != "begin\n":
                raise RuntimeError("the load generator failed")
            before, busy_before = cpu(pid), core_busy_s(PROXY_CORE)
            report = json.loads(generator.stdout.readline())
            used, busy = cpu(pid).since(before), core_busy_s(PROXY_CORE) - busy_before
        requests = report["requests"]
        if requests == 0:
            raise RuntimeError("not one request was answered")
        if self._endpoint_connections() - opened > ENDPOINT_CONNECTIONS_MAX:
            raise RuntimeError(
                "connections to the endpoints are not kept alive: the comparison would be unfair"
            )
        return Sample(
            requests=requests,
            errors=report["errors"],
            rps=report["rps"],
            offered_rps=rate,
            backlog=report["backlog"],
            user_us=used.user / requests * 1e6,
            system_us=used.system / requests * 1e6,
            total_us=used.total / requests * 1e6,
            p50_us=report["latency"]["p50_us"],
            p99_us=report["latency"]["p99_us"],
            resident_kib=resident_kib(pid),
            core_share=used.total / report["seconds"],
            disturbance=max(0.0, (busy - used.total) / report["seconds"]),
        )

    def idle(self, pid: int, port: int) -> IdleMemory:
        """Opens idle connections to a running proxy that has seen load, and reads its memory."""
        self.load(pid, port, Length(rounds=1, warmup_s=0.2, seconds=1.0), rate=None)
        before = _settled_kib(pid)
        command = self._loadgen(port, "--idle", IDLE_CONNECTIONS)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as generator:
            assert generator.stdin is not None
            assert generator.stdout is not None
            if generator.stdout.readline() != "ready\n":
                raise RuntimeError("the idle connections could not be opened")
            after = _settled_kib(pid)
            generator.stdin.close()
            held = json.loads(generator.stdout.readline())
        return IdleMemory(
            before_kib=before, after_kib=after, connections=held["opened"], still_open=held["still_open"]
        )

    def _loadgen(self, port: int, *arguments: object) -> list[str]:
        command = ["taskset", "--cpu-list", str(LOAD_CORE), str(self._binaries / "loadgen")]
        return [*command, "--to", f"127.0.0.1:{port}", *map(str, arguments)]

    def _endpoint_connections(self) -> int:
        answers = [
            wait_for_200(origin.port, "/control/stats", pid=origin.pid, log=origin.log)
            for origin in self._origins
        ]
        return sum(json.loads(answer)["connections"] for answer in answers)


@dataclass(frozen=True)
class _Origin:
    port: int
    pid: int
    log: Path


def _settled_kib(pid: int) -> int:
    """Resident memory once it has stood still for a second, or after five."""
    readings = [resident_kib(pid)]
    for _ in range(20):
        time.sleep(0.25)
        readings.append(resident_kib(pid))
        if len(readings) > 4 and len(set(readings[-5:])) == 1:
            break
    return readings[-1]
