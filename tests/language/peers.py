"""Balancers that nobody here wrote: HAProxy and nginx, each on a configuration of the test's."""

import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from language.scope import keep
from language.waiting import eventually


class Peer:
    """A process that listens on a unix socket, and on what it inherits."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str], command: list[str], *inherited: int) -> None:
        self._folder = folder
        self.socket = Path(folder.name) / "peer.sock"
        self._process = subprocess.Popen(
            command, pass_fds=inherited, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        eventually(self._listens, "the peer listens")

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            assert self._process.stderr is not None
            raise SystemExit(f"the peer ended: {self._process.stderr.read().decode()}")
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(str(self.socket)) == 0

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._folder.cleanup()


HAPROXY = """\
global
  user root
defaults
  mode http
  timeout connect 10s
  timeout client 20s
  timeout server 20s
"""


def haproxy(text: str) -> tuple[Peer, tuple[str, int]]:
    """HAProxy, and where its TCP port is. In the text {socket} is its unix socket, {port} that port."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        filled = text.format(socket=f"unix@{path}/peer.sock", port=f"fd@{listening.fileno()}")
        (path / "haproxy.cfg").write_text(HAPROXY + filled)
        command = ["haproxy", "-db", "-f", str(path / "haproxy.cfg")]
        peer = keep(Peer(folder, command, listening.fileno()))
        host, port = listening.getsockname()
    return peer, (host, port)


NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen unix:{folder}/peer.sock proxy_protocol;
    location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port"; }}
  }}
}}
"""


def nginx_told() -> Peer:
    """nginx, which wants a PROXY header and answers with what it says of the client."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name)
    (path / "nginx.conf").write_text(NGINX.format(folder=path))
    return keep(Peer(folder, ["nginx", "-p", str(path), "-c", str(path / "nginx.conf")]))
