"""Serves the admin API on its socket, on a thread of its own."""

import threading

import uvicorn

from steelyard.admin.api import application
from steelyard.admin.socket import AdminSocket
from steelyard.control import Control

__all__ = ["AdminServer"]

CONNECTIONS_MAX = 64
STOP_TIMEOUT_S = 5


class AdminServer:
    """Runs until closed. Signals are left alone: uvicorn touches them on the main thread only."""

    def __init__(self, control: Control, socket: AdminSocket) -> None:
        self._socket = socket
        self._server = uvicorn.Server(
            uvicorn.Config(
                application(control),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._run, name="steelyard-admin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket.socket])

    def close(self) -> None:
        """Answers what is being answered, then closes the socket and takes its name away."""
        self._server.should_exit = True
        self._thread.join(timeout=STOP_TIMEOUT_S)
        self._socket.close()
