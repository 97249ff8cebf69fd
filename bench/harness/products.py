"""The proxies that are compared, each with the same features.

Every one but the relay keeps its connections to the two endpoints alive, sends the request to the endpoint
with the fewest requests, sets X-Forwarded-For, -Proto and -Host, Forwarded and X-Request-Id, gives `Host` on
as it came, has time limits, writes no log and uses one worker. Health checks are on where the product has
them (nginx has none of its own). Limits on requests per connection are lifted, so that nobody reconnects in
the middle.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

REPOSITORY = Path(__file__).resolve().parents[2]

FORWARDED_FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id")


@dataclass(frozen=True)
class Place:
    """Where a proxy listens, to whom it forwards, and a folder of its own."""

    port: int
    endpoints: tuple[int, ...]
    folder: Path


class Product(Protocol):
    """One proxy that can be started."""

    name: str
    parses: bool

    def command(self, place: Place) -> list[str]:
        """Writes its configuration and says how it is started, in the foreground."""

    def version(self) -> str:
        """What it calls itself."""


class Relay:
    name = "relay"
    parses = False

    def __init__(self, binaries: Path) -> None:
        self._program = binaries / "relay"

    def command(self, place: Place) -> list[str]:
        to = [word for port in place.endpoints for word in ("--to", f"127.0.0.1:{port}")]
        return [str(self._program), "--listen", f"127.0.0.1:{place.port}", *to]

    def version(self) -> str:
        return "no-parse epoll relay of this repository"


class Nginx:
    name = "nginx"
    parses = True

    def command(self, place: Place) -> list[str]:
        servers = "".join(f"    server 127.0.0.1:{port};\n" for port in place.endpoints)
        path = place.folder / "nginx.conf"
        path.write_text(NGINX.format(folder=place.folder, port=place.port, servers=servers))
        return [program("nginx"), "-p", str(place.folder), "-e", "stderr", "-c", str(path)]

    def version(self) -> str:
        said = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True)
        return said.stderr.strip().removeprefix("nginx version: ")


class Haproxy:
    name = "haproxy"
    parses = True

    def command(self, place: Place) -> list[str]:
        servers = "".join(
            f"    server s{index} 127.0.0.1:{port} check inter 5s\n"
            for index, port in enumerate(place.endpoints)
        )
        path = place.folder / "haproxy.cfg"
        path.write_text(HAPROXY.format(port=place.port, servers=servers))
        return [program("haproxy"), "-db", "-f", str(path)]

    def version(self) -> str:
        said = subprocess.run([program("haproxy"), "-v"], capture_output=True, text=True, check=True)
        return " ".join(said.stdout.split()[:3])


class Steelyard:
    name = "steelyard"
    parses = True

    def __init__(self) -> None:
        self._program = REPOSITORY / ".venv/bin/steelyard"

    def command(self, place: Place) -> list[str]:
        endpoints = ", ".join(f'"127.0.0.1:{port}"' for port in place.endpoints)
        path = place.folder / "bench.toml"
        path.write_text(STEELYARD.format(folder=place.folder, port=place.port, endpoints=endpoints))
        return [str(self._program), "run", str(path)]

    def version(self) -> str:
        said = subprocess.run([self._program, "version"], capture_output=True, text=True, check=True)
        return " ".join(said.stdout.split())


def every(binaries: Path) -> list[Product]:
    """All of them, Steelyard last."""
    return [Relay(binaries), Nginx(), Haproxy(), Steelyard()]


def program(name: str) -> str:
    """The path of an installed program; Debian keeps these where only root's PATH leads."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if found is None:
        raise FileNotFoundError(name)
    return found


# The master process only waits; it counts all the same. Buffering of responses is nginx's default.
NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{
  worker_connections 16384;
}}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream app {{
    least_conn;
{servers}\
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_connect_timeout 2s;
      proxy_read_timeout 30s;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded "for=$remote_addr;host=$http_host;proto=$scheme";
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"""

# `http-reuse always` is HAProxy's own advice for endpoints that behave.
HAPROXY = """\
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout connect 2s
    timeout http-request 10s
    timeout http-keep-alive 600s
    timeout client 600s
    timeout server 30s
frontend web
    bind 127.0.0.1:{port} backlog 4096
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header Forwarded for=%[src];host=%[req.hdr(Host)];proto=http
    http-request set-header X-Request-Id %[uuid()]
    default_backend app
backend app
    balance leastconn
    http-reuse always
    option httpchk GET /healthz
{servers}"""

STEELYARD = """\
workers = 1

[admin]
socket = "{folder}/steelyard.sock"

[log]
level = "warning"

[listeners.web]
bind = ["127.0.0.1:{port}"]
pool = "app"

[listeners.web.timeouts]
idle = "600s"

[pools.app]
policy = "least_request"
endpoints = [{endpoints}]

[pools.app.health]
path = "/healthz"
interval = "5s"
"""
