"""CPU per request and per handshake over TLS 1.3, against nginx and HAProxy; memory per idle connection.

`python bench/tls.py [--rounds 5] [--seconds 3] [--only MODE]`, after `make release` and
`cargo build --release -p steelyard-bench-tools -p steelyard-origin`.

One ECDSA P-256 certificate, no client certificates; tickets and caches are off everywhere for full
handshakes, on for resumed ones. The endpoint is spoken to in clear text. What counts is the time that all
threads of a product used, divided by what was answered meanwhile.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from harness.processes import LOAD_CORE, PROXY_CORE, cpu, free_ports, resident_kib, running, wait_for_200
from harness.products import HAPROXY, NGINX, REPOSITORY, STEELYARD, program

BINARIES = REPOSITORY / "target/release"
IDLE_CONNECTIONS = 2000
MODES = ("keepalive", "full", "resumed")


def certificate(folder: Path) -> None:
    """site.pem and site.key of an authority in ca.pem, and both in one for HAProxy."""
    ca = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    openssl(
        "req", "-x509", *ca, "-subj", "/CN=bench", "-keyout", folder / "ca.key", "-out", folder / "ca.pem"
    )
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "site.key")
    request = folder / "site.csr"
    openssl("req", "-new", "-key", folder / "site.key", "-subj", "/CN=localhost", "-out", request)
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:false\n")
    signer = ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "30"]
    openssl("x509", "-req", "-in", request, *signer, "-extfile", names, "-out", folder / "site.pem")
    both = (folder / "site.pem").read_text() + (folder / "site.key").read_text()
    (folder / "both.pem").write_text(both)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def nginx(folder: Path, port: int, endpoint: int, mode: str) -> list[str]:
    text = NGINX.format(folder=folder, port=port, servers=f"    server 127.0.0.1:{endpoint};\n")
    resumes = "on" if mode != "full" else "off"
    cache = "shared:tls:8m" if mode != "full" else "off"
    secure = (
        f"ssl_certificate {folder}/site.pem; ssl_certificate_key {folder}/site.key;"
        f" ssl_session_tickets {resumes}; ssl_session_cache {cache}; ssl_protocols TLSv1.2 TLSv1.3;"
    )
    text = text.replace("backlog=4096;", f"backlog=4096 ssl;\n    {secure}")
    (folder / "nginx.conf").write_text(text)
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, endpoint: int, mode: str) -> list[str]:
    text = HAPROXY.format(port=port, servers=f"    server s0 127.0.0.1:{endpoint} check inter 5s\n")
    options = "no-tls-tickets" if mode == "full" else ""
    text = text.replace("backlog 4096", f"backlog 4096 ssl crt {folder}/both.pem {options}")
    if mode == "full":
        text = text.replace("global\n", "global\n    tune.ssl.cachesize 0\n")
    text = text.replace("Proto http", "Proto https")
    (folder / "haproxy.cfg").write_text(text)
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def steelyard(folder: Path, port: int, endpoint: int, mode: str) -> list[str]:
    own = folder / "steelyard"
    own.mkdir(mode=0o700, exist_ok=True)
    text = STEELYARD.format(folder=own, port=port, endpoints=f'"127.0.0.1:{endpoint}"')
    tls = f'certificates = [{{ cert = "{folder}/site.pem", key = "{folder}/site.key" }}]\n'
    if mode == "full":
        tls += 'tickets = false\nsession_cache = "off"\n'
    text = text.replace("[listeners.web.timeouts]", f"[listeners.web.tls]\n{tls}\n[listeners.web.timeouts]")
    (folder / "bench.toml").write_text(text)
    return [str(REPOSITORY / ".venv/bin/steelyard"), "run", str(folder / "bench.toml")]


PRODUCTS = {"nginx": nginx, "haproxy": haproxy, "steelyard": steelyard}


def tlsload(folder: Path, port: int, mode: str, *arguments: object) -> list[str]:
    command = ["taskset", "--cpu-list", str(LOAD_CORE), str(BINARIES / "tlsload")]
    command += ["--to", f"127.0.0.1:{port}", "--ca", str(folder / "ca.pem"), "--mode", mode]
    return [*command, *map(str, arguments)]


def measured(folder: Path, pid: int, port: int, mode: str, seconds: float) -> tuple[float, float, float]:
    """Microseconds for each request: user, system; and how many there were a second."""
    command = tlsload(folder, port, mode, "--warmup", 0.5, "--seconds", seconds)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        if load.stdout.readline() != "begin\n":
            raise RuntimeError("the load failed")
        before = cpu(pid)
        report = json.loads(load.stdout.readline())
        used = cpu(pid).since(before)
    count = report["requests"]
    return used.user / count * 1e6, used.system / count * 1e6, report["rps"]


def idle_kib(folder: Path, pid: int, port: int) -> float:
    before = resident_kib(pid)
    command = tlsload(folder, port, "idle", "--connections", IDLE_CONNECTIONS)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        assert load.stdin is not None
        load.stdout.readline()
        time.sleep(1.0)
        after = resident_kib(pid)
        load.stdin.close()
    return (after - before) / IDLE_CONNECTIONS


def wait_for_tls(folder: Path, name: str, port: int) -> None:
    deadline = time.monotonic() + 20
    command = [
        "curl",
        "-sf",
        "-o",
        "/dev/null",
        "--cacert",
        str(folder / "ca.pem"),
        f"https://localhost:{port}/",
    ]
    while subprocess.run(command, check=False).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} does not serve: {(folder / f'{name}.log').read_text()}")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", choices=[*MODES, "idle"])
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steelyard-bench-tls-")))
        folder.chmod(0o755)
        certificate(folder)
        (origin,) = free_ports(1)
        command = [str(BINARIES / "steelyard-origin"), "--listen", f"127.0.0.1:{origin}"]
        pid = stack.enter_context(running(command, core=LOAD_CORE, folder=folder, name="origin"))
        wait_for_200(origin, "/healthz", pid=pid, log=folder / "origin.log")
        for mode in (chosen.only,) if chosen.only else (*MODES, "idle"):
            compare(folder, origin, mode, chosen.rounds, chosen.seconds)
    return 0


def compare(folder: Path, origin: int, mode: str, rounds: int, seconds: float) -> None:
    print(f"\n{mode}")
    totals: dict[str, list[float]] = {name: [] for name in PRODUCTS}
    for _ in range(1 if mode == "idle" else rounds):
        for name, command in PRODUCTS.items():
            (port,) = free_ports(1)
            with running(
                command(folder, port, origin, mode), core=PROXY_CORE, folder=folder, name=name
            ) as pid:
                wait_for_tls(folder, name, port)
                if mode == "idle":
                    print(f"  {name:10} {idle_kib(folder, pid, port):6.2f} KiB each")
                    continue
                user, system, rps = measured(folder, pid, port, mode, seconds)
            totals[name].append(user + system)
            each = f"user {user:6.1f} system {system:6.1f} total {user + system:6.1f} us"
            print(f"  {name:10} {each}, {rps:8.0f}/s")
    if mode == "idle":
        return
    for name in ("nginx", "haproxy"):
        ratios = [ours / theirs for ours, theirs in zip(totals["steelyard"], totals[name], strict=True)]
        low, high = min(ratios), max(ratios)
        print(f"  ratio to {name}: {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    sys.exit(main())
