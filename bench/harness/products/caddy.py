"""Caddy, from PyPI."""

import subprocess
import sys
from pathlib import Path

from harness.products.base import Place

PROGRAM = Path(sys.prefix) / "bin/caddy"


class Caddy:
    name = "caddy"
    parses = True

    def command(self, place: Place) -> list[str]:
        files = place.certificate
        tls = TLS.format(certificate=files.certificate, key=files.key) if place.front.tls else ""
        endpoints = " ".join(f"127.0.0.1:{port}" for port in place.endpoints)
        path = place.folder / "Caddyfile"
        path.write_text(
            CADDYFILE.format(scheme=place.front.scheme, port=place.port, endpoints=endpoints, tls=tls)
        )
        homes = [f"XDG_DATA_HOME={place.folder}", f"XDG_CONFIG_HOME={place.folder}"]
        return ["env", *homes, str(PROGRAM), "run", "--adapter", "caddyfile", "--config", str(path)]

    def version(self) -> str:
        said = subprocess.run([PROGRAM, "version"], capture_output=True, text=True, check=True)
        return f"Caddy {said.stdout.split()[0]}"


TLS = """\
  tls {certificate} {key} {{
    protocols tls1.3
    curves x25519
  }}
"""

# The runtime uses as many threads at once as there are cores that it may run on: one.
CADDYFILE = """\
{{
  admin off
  persist_config off
  auto_https off
  log {{
    level ERROR
  }}
  servers {{
    protocols h1 h2 h2c
    timeouts {{
      read_header 10s
      idle 600s
    }}
  }}
}}
{scheme}://:{port} {{
  bind 127.0.0.1
{tls}\
  reverse_proxy {endpoints} {{
    lb_policy least_conn
    health_uri /healthz
    health_interval 5s
    header_up Forwarded "for={{remote_host}};host={{host}};proto={{scheme}}"
    header_up X-Request-Id {{http.request.uuid}}
    transport http {{
      dial_timeout 2s
      response_header_timeout 30s
      keepalive 60s
      keepalive_idle_conns_per_host 256
      compression off
    }}
  }}
}}
"""
