"""Origins that report their load in a field of every response."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from language.scope import keep


class Reporter:
    """A real server whose responses carry what `says` holds, each value in a field of its own."""

    def __init__(self, name: str, says: tuple[str, ...], field: str) -> None:
        self.name = name
        self.says = says
        self.field = field
        self.gate = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if self.path == "/waits":
                    outer.gate.wait()
                self.send_response(503 if self.path == "/broken" else 200)
                self.send_header("x-origin", outer.name)
                for value in outer.says:
                    self.send_header(outer.field, value)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def reporter(name: str, *says: str, field: str = "Endpoint-Load-Metrics") -> Reporter:
    return keep(Reporter(name, says, field))
