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
        path.write_text(STEELYARD.format(folder=place.folder, port=place.port, endpoints=endpoints))
        return [str(self._program), "run", str(path)]

    def version(self) -> str:
        said = subprocess.run([self._program, "version"], capture_output=True, text=True, check=True)
        return " ".join(said.stdout.split())


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
