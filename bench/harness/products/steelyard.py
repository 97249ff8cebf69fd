"""Steelyard, as it is installed in the environment of the repository."""

import subprocess

from harness.products.base import REPOSITORY, Place


class Steelyard:
    name = "steelyard"
    parses = True

    def __init__(self) -> None:
        self._program = REPOSITORY / ".venv/bin/steelyard"

    def command(self, place: Place) -> list[str]:
        endpoints = ", ".join(f'"127.0.0.1:{port}"' for port in place.endpoints)
        path = place.folder / "bench.toml"
        template = TCP if place.front.protocol == "tcp" else HTTP
        text = template.format(folder=place.folder, port=place.port, endpoints=endpoints)
        path.write_text(text + _tls(place))
        return [str(self._program), "run", str(path)]

    def version(self) -> str:
        said = subprocess.run([self._program, "version"], capture_output=True, text=True, check=True)
        return " ".join(said.stdout.split())


def _tls(place: Place) -> str:
    if not place.front.tls:
        return ""
    files, tickets = place.certificate, "true" if place.front.resumes else "false"
    return TLS.format(certificate=files.certificate, key=files.key, tickets=tickets)


# An idle connection is kept for every request that may be under way, as in the others.
HTTP = """\
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

[pools.app.connections]
idle_max = 256

[pools.app.health]
path = "/healthz"
interval = "5s"
"""

TCP = """\
workers = 1

[admin]
socket = "{folder}/steelyard.sock"

[log]
level = "warning"

[listeners.web]
bind = ["127.0.0.1:{port}"]
protocol = "tcp"
pool = "app"

[pools.app]
policy = "least_request"
endpoints = [{endpoints}]

[pools.app.health]
interval = "5s"
"""

TLS = """
[listeners.web.tls]
certificates = [{{ cert = "{certificate}", key = "{key}" }}]
min_version = "1.3"
tickets = {tickets}
session_cache = "off"
"""
