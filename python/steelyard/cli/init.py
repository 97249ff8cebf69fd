"""The command `init`: a configuration to begin with, and a unit or a compose file beside it."""

import json
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from steelyard import __version__, config
from steelyard.cli.output import print_json, say, tell
from steelyard.errors import SteelyardError, UsageError

__all__ = ["init"]


def init(path: Path, *, systemd: bool, compose: bool, as_json: bool) -> None:
    files = {path: configuration()}
    if systemd:
        files[path.parent / "steelyard.service"] = unit(path.absolute())
    if compose:
        files[path.parent / "compose.yaml"] = compose_file(path)
    write(files)
    if as_json:
        print_json({"written": [str(file) for file in files]})
        return
    for file in files:
        tell(f"wrote {file}")
    say("next: put your endpoints in, then")
    shown = "" if path == Path("steelyard.toml") else f" {path}"
    say(f"  steelyard check{shown}\n  steelyard run{shown}")


def write(files: dict[Path, str]) -> None:
    """All of them or none, and never over one that is there."""
    if there := [str(file) for file in files if os.path.lexists(file)]:
        verb = "is" if len(there) == 1 else "are"
        raise UsageError(
            f"{' and '.join(there)} {verb} there already; nothing was written", hint="name another file"
        )
    with ExitStack() as undo:
        for file, text in files.items():
            try:
                with file.open("x", encoding="utf-8") as opened:
                    undo.callback(file.unlink, missing_ok=True)
                    opened.write(text)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise SteelyardError(f"cannot write {file}: {reason}; nothing was written") from error
        undo.pop_all()


def configuration() -> str:
    return f"""\
#:schema {config.SCHEMA_PATH.as_uri()}
# Steelyard {__version__}. These three lines are a whole configuration: health checks, timeouts, limits and
# retries have safe defaults, which `steelyard check --show` prints.

listen = ":8080"                        # or "127.0.0.1:8080", "[::1]:8080", "unix:/path"
endpoints = ["127.0.0.1:9001", "127.0.0.1:9002"]
health = "/healthz"                     # the path that is asked; without this line a TCP connect

# policy = "{config.DEFAULT_POLICY}"              # {", ".join(config.POLICIES)}

# For several listeners, routes or pools, or to change a default, the long form stands instead of those lines:
#
# drain_timeout = "25s"                 # top-level keys stand above the first [table]
#
# [listeners.web]
# bind = [":8080"]
# pool = "app"                          # where requests go that no route claims
# http3 = true                          # HTTP/3 too, over UDP on the same port; browsers are told of it
#
# [listeners.web.tls]                   # HTTPS; the files are watched, and loaded anew when they change
# certificates = [{{ cert = "site.pem", key = "site.key" }}]
# # or, where [acme] has agree_tos = true, obtained and renewed by themselves (pip install 'steelyard[acme]'):
# # acme = ["www.example.com"]
# hsts = true                           # browsers come back over HTTPS only
#
# [listeners.plain]
# bind = [":80"]
# redirect_https = true                 # every request to the same URL over HTTPS
#
# [listeners.db]
# bind = [":5432"]
# protocol = "tcp"                      # connections are carried as they are
# pool = "db"
# # proxy_protocol = true               # the balancer in front says who the client is
# # trusted_proxies = ["10.0.0.0/8"]
#
# [listeners.dns]
# bind = [":53"]
# protocol = "udp"                      # datagrams as they are: DNS, QUIC, syslog
# responses = 1                         # a session ends with its answer; without it after timeouts.idle
# pool = "dns"
#
# [[routes]]                            # the first that matches wins
# path = "/api/"                        # a prefix; "=/exact"; "~regex"
# pool = "api"
#
# [pools.app]
# policy = "{config.DEFAULT_POLICY}"
# endpoints = ["127.0.0.1:9001", {{ address = "127.0.0.1:9002", weight = 3 }}]
# reported = "weight"                 # where servers say in endpoint-load-metrics how busy they are
# protocol = "h2c"                      # endpoints speak HTTP/2 in clear text, as servers of gRPC do
#
# [pools.app.health]
# path = "/healthz"                    # or, over HTTP/2: grpc = "service"
# interval = "5s"
#
# [pools.app.threshold]                 # an endpoint that has so many gets no more; requests wait
# requests = 100
#
# [pools.db]
# endpoints = ["127.0.0.1:5432"]
# send_proxy = "v2"                     # endpoints are told who the client is, in the PROXY protocol
#
# [pools.api]
# endpoints = ["127.0.0.1:9003"]
# tls = true                            # endpoints speak TLS and prove their names; a table says more
# protocol = "auto"                     # each of them says in its handshake whether it speaks HTTP/2
#
# [pools.dns]
# endpoints = ["127.0.0.1:5301", "127.0.0.1:5302"]
# health = {{ port = 5380, path = "/healthz" }}     # what is probed of datagrams; udp = "..." sends one
"""


def unit(path: Path) -> str:
    command = systemd_word(shutil.which("steelyard") or sys.argv[0])
    # Of the words only the program is no place for variables.
    file = systemd_word(str(path).replace("$", "$$"))
    return f"""\
# Put this in /etc/systemd/system/, then: systemctl daemon-reload && systemctl enable --now steelyard
[Unit]
Description=Steelyard load balancer
After=network-online.target
Wants=network-online.target

[Service]
ExecStartPre={command} check {file}
ExecStart={command} run {file}
ExecReload={command} reload
Restart=on-failure
# Longer than drain_timeout, so that a stop can drain.
TimeoutStopSec=30
DynamicUser=yes
RuntimeDirectory=steelyard
# Certificates that are obtained are kept in /var/lib/steelyard.
StateDirectory=steelyard
StateDirectoryMode=0700
# The admin socket stands in /run/steelyard: steelyard status --socket /run/steelyard/admin.sock
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
LimitNOFILE=1048576
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX

[Install]
WantedBy=multi-user.target
"""


def systemd_word(text: str) -> str:
    """One word of a command line of systemd, which has specifiers (%) and quotes of its own."""
    text = text.replace("%", "%%")
    if not any(character in text for character in " \t\"'\\;"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def compose_file(path: Path) -> str:
    source = f"./{path.name}".replace("$", "$$")
    volume = f"{source}:/etc/steelyard/steelyard.toml:ro"
    if not all(character.isalnum() or character in "./_:-" for character in volume):
        # A string of JSON is one of YAML.
        volume = json.dumps(volume, ensure_ascii=False)
    return f"""\
# docker compose up; an endpoint on this machine is then host.docker.internal:PORT in {path.name}
services:
  steelyard:
    build:
      dockerfile_inline: |
        FROM python:3.13-slim
        RUN pip install --no-cache-dir "steelyard[acme]=={__version__}"
    command: ["steelyard", "run", "/etc/steelyard/steelyard.toml"]
    volumes:
      - {volume}
      # Certificates that are obtained, and the account that they belong to.
      - state:/var/lib/steelyard
    ports:
      - "8080:8080"
      # - "80:80"                       # with automatic certificates
      # - "443:443"
    extra_hosts:
      - "host.docker.internal:host-gateway"
    # Longer than drain_timeout, so that a stop can drain.
    stop_grace_period: 30s
    restart: unless-stopped
    ulimits:
      nofile: 1048576
volumes:
  state:
"""
