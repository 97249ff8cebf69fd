"""A real server of every version of HTTP: Node's own, in a process of its own."""

import subprocess
from pathlib import Path

from language.tls import Pair

SCRIPT = Path(__file__).with_name("node_server.js")


class NodeServer:
    """`kind` is http1, h2c, https, h2, or both (as is agreed on); over TLS it shows a certificate."""

    def __init__(self, kind: str, pair: Pair | None = None) -> None:
        files = [str(pair.cert), str(pair.key)] if pair else []
        self._process = subprocess.Popen(
            ["node", str(SCRIPT), kind, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"node ended: is it there, and what does it say of {kind}?"
        self.address = f"127.0.0.1:{int(line)}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
