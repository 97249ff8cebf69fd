"""One measurement: a fresh proxy on one core, load and endpoints on the other."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import certificate
from harness.fairness import Answer, CannotServe, Unfair, check, check_handshakes
from harness.processes import (
    LOAD_CORE,
    PROXY_CORE,
    Unanswered,
    core_busy_s,
    cpu,
    free_ports,
    resident_kib,
    running,
    settle,
    wait_for,
    wait_for_200,
)
from harness.products.base import Certificate, Place, Product
from harness.scenarios import Scenario

ENDPOINTS = 2
IDLE_CONNECTIONS = 3800
MIB = 1024 * 1024

# A proxy that opens more connections than this for each request under way does not keep them alive.
ENDPOINT_CONNECTIONS_MAX = 4

# More than this on the proxy's core that is not the proxy's, and a measurement is made again, so many times.
DISTURBANCE_MAX = 0.05
ATTEMPTS = 4


@dataclass(frozen=True)
class Length:
    """How long things take."""

    rounds: int
    warmup_s: float
    seconds: float


FULL = Length(rounds=5, warmup_s=0.5, seconds=2.5)
QUICK = Length(rounds=2, warmup_s=0.5, seconds=1.5)


@dataclass(frozen=True)
class Sample:
    """What one product did under one load; times are per unit of the scenario."""

    units: float
    errors: int
    per_second: float
    offered: float | None
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
    # Shares of the other core: what was used of it in all, and what the load generator used.
    load_core_share: float
    generator_share: float
    # Handshakes in the time that counts; none on connections that stay.
    full: int = 0
    resumed: int = 0
    negotiated: tuple[str, ...] = ()

    @property
    def is_quiet(self) -> bool:
        return self.disturbance <= DISTURBANCE_MAX


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


@dataclass(frozen=True)
class Proxy:
    """A running product, ready for the load of a scenario."""

    pid: int
    port: int
    scenario: Scenario


class Bench:
    """The endpoints, which stay, and the measurements that are made with them."""

    def __init__(
        self, binaries: Path, folder: Path, origins: list["_Origin"], certificate: Certificate
    ) -> None:
        self._binaries = binaries
        self._folder = folder
        self._origins = origins
        self._certificate = certificate

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
            yield cls(binaries, folder, origins, certificate.make(folder))
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def proxy(self, product: Product, scenario: Scenario) -> Iterator[Proxy]:
        """Starts a product and checks that it does what all are to do."""
        (port,) = free_ports(1)
        folder = self._folder / scenario.name / product.name
        folder.mkdir(exist_ok=True, parents=True)
        folder.chmod(0o755)
        place = Place(
            port=port,
            endpoints=tuple(origin.port for origin in self._origins),
            folder=folder,
            front=scenario.front,
            certificate=self._certificate,
        )
        log = folder / f"{product.name}.log"
        with running(product.command(place), core=PROXY_CORE, folder=folder, name=product.name) as pid:
            proxy = Proxy(pid=pid, port=port, scenario=scenario)
            try:
                answer = wait_for(lambda: self._ask(proxy), pid=pid, log=log)
            except Unanswered as problem:
                raise CannotServe(str(problem)) from problem
            check(answer, product, scenario)
            settle(pid)
            yield proxy

    def load(self, proxy: Proxy, length: Length, *, rate: float | None) -> Sample:
        """Loads a running proxy, as much as goes or at a rate, and reads what it used meanwhile.

        When something else ran on its core the measurement is made again. The last attempt counts as it is.
        """
        for _ in range(ATTEMPTS - 1):
            sample = self._load(proxy, length, rate=rate)
            if sample.is_quiet:
                return sample
        return self._load(proxy, length, rate=rate)

    def _load(self, proxy: Proxy, length: Length, *, rate: float | None) -> Sample:
        opened = self._endpoint_connections()
        scenario = proxy.scenario
        command = self._loadgen(proxy, "--connections", scenario.connections, "--streams", scenario.streams)
        command += ["--warmup", str(length.warmup_s), "--seconds", str(length.seconds), *scenario.generator]
        if rate is not None:
            command += ["--rate", str(rate)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as generator:
            assert generator.stdout is not None
            if generator.stdout.readline() != "begin\n":
                raise RuntimeError("the load generator failed")
            before = cpu(proxy.pid), core_busy_s(PROXY_CORE), core_busy_s(LOAD_CORE)
            report = json.loads(generator.stdout.readline())
            used = cpu(proxy.pid).since(before[0])
            busy = core_busy_s(PROXY_CORE) - before[1]
            load_busy = core_busy_s(LOAD_CORE) - before[2]
        if report["requests"] == 0:
            raise RuntimeError("not one request was answered")
        if self._endpoint_connections() - opened > ENDPOINT_CONNECTIONS_MAX * scenario.at_once:
            raise Unfair("connections to the endpoints are not kept alive")
        units = report["body_bytes"] / MIB if scenario.unit == "MiB" else report["requests"]
        tls = report["tls"] or {"full": 0, "resumed": 0, "tickets": 0, "with": []}
        check_handshakes(tls, scenario)
        return Sample(
            units=units,
            errors=report["errors"],
            per_second=units / report["seconds"],
            offered=rate,
            backlog=report["backlog"],
            user_us=used.user / units * 1e6,
            system_us=used.system / units * 1e6,
            total_us=used.total / units * 1e6,
            p50_us=report["latency"]["p50_us"],
            p99_us=report["latency"]["p99_us"],
            resident_kib=resident_kib(proxy.pid),
            core_share=used.total / report["seconds"],
            disturbance=max(0.0, (busy - used.total) / report["seconds"]),
            load_core_share=load_busy / report["seconds"],
            generator_share=report["own_share"],
            full=tls["full"],
            resumed=tls["resumed"],
            negotiated=tuple(tls["with"]),
        )

    def idle(self, proxy: Proxy) -> IdleMemory:
        """Opens idle connections to a running proxy that has seen load, and reads its memory."""
        self.load(proxy, Length(rounds=1, warmup_s=0.2, seconds=1.0), rate=None)
        before = _settled_kib(proxy.pid)
        command = self._loadgen(proxy, "--idle", IDLE_CONNECTIONS)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as generator:
            assert generator.stdin is not None
            assert generator.stdout is not None
            if generator.stdout.readline() != "ready\n":
                raise RuntimeError("the idle connections could not be opened")
            after = _settled_kib(proxy.pid)
            generator.stdin.close()
            held = json.loads(generator.stdout.readline())
        return IdleMemory(
            before_kib=before, after_kib=after, connections=held["opened"], still_open=held["still_open"]
        )

    def _loadgen(self, proxy: Proxy, *arguments: object) -> list[str]:
        front = proxy.scenario.front
        command = ["taskset", "--cpu-list", str(LOAD_CORE), str(self._binaries / "loadgen")]
        command += ["--to", f"127.0.0.1:{proxy.port}", "--http", "2" if front.protocol == "http2" else "1"]
        if front.tls:
            command += ["--tls", str(self._certificate.certificate)]
        return [*command, *map(str, arguments)]

    def _ask(self, proxy: Proxy) -> Answer:
        """One request, as the load will make them."""
        command = self._loadgen(proxy, "--once", "yes", "--path", "/echo")
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode != 0:
            raise Unanswered(said.stderr.strip())
        report = json.loads(said.stdout)
        fields = {name.lower(): value for name, value in json.loads(report["body"])["headers"]}
        return Answer(fields=fields, tls=report["tls"])

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
