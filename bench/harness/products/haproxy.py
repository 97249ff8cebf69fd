"""HAProxy, from Debian."""

import subprocess

from harness.products.base import Place, program


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
