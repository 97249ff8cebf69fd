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
        splice = SPLICE if place.front.is_bulk else ""
        template = TCP if place.front.protocol == "tcp" else HTTP
        path.write_text(
            template.format(
                port=place.port,
                servers=servers,
                bind=_bind(place),
                scheme=place.front.scheme,
                splice=splice,
                maxconn=2000 if splice else 8000,
            )
        )
        return [*_environment(place), program("haproxy"), "-db", "-f", str(path)]

    def version(self) -> str:
        said = subprocess.run([program("haproxy"), "-v"], capture_output=True, text=True, check=True)
        return " ".join(said.stdout.split()[:3])


def _environment(place: Place) -> list[str]:
    """Without tickets, what HAProxy has no word for is said to OpenSSL."""
    if not place.front.tls or place.front.resumes:
        return []
    path = place.folder / "openssl.cnf"
    path.write_text(OPENSSL)
    return ["env", f"OPENSSL_CONF={path}"]


def _bind(place: Place) -> str:
    front = place.front
    if not front.tls:
        return " proto h2" if front.protocol == "http2" else ""
    tickets = "" if front.resumes else " no-tls-tickets"
    return f" ssl crt {place.certificate.both} alpn h2,http/1.1 ssl-min-ver TLSv1.3 curves X25519{tickets}"


# `no-tls-tickets` alone makes it send tickets of another kind, which nothing could be done with.
OPENSSL = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
NumTickets = 0
"""

# The kernel moves the bodies from socket to socket, through a pipe, which takes two descriptors.
# `splice-auto` was seen not to do that.
SPLICE = """\
    option splice-response
"""

# `http-reuse always` is HAProxy's own advice for endpoints that behave; connections that ask for nothing get
# no answer, as in nginx.
HTTP = """\
global
    nbthread 1
    maxconn {maxconn}
    tune.ssl.cachesize 0
defaults
    mode http
    timeout connect 2s
    timeout http-request 10s
    timeout http-keep-alive 600s
    timeout client 600s
    timeout server 30s
    option http-ignore-probes
{splice}\
frontend web
    bind 127.0.0.1:{port} backlog 4096{bind}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto {scheme}
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header Forwarded for=%[src];host=%[req.hdr(Host)];proto={scheme}
    http-request set-header X-Request-Id %[uuid()]
    default_backend app
backend app
    balance leastconn
    http-reuse always
    option httpchk GET /healthz
{servers}"""

TCP = """\
global
    nbthread 1
    maxconn {maxconn}
defaults
    mode tcp
    timeout connect 2s
    timeout client 600s
    timeout server 600s
{splice}\
frontend web
    bind 127.0.0.1:{port} backlog 4096{bind}
    default_backend app
backend app
    balance leastconn
{servers}"""
