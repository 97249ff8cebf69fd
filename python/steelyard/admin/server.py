"""Serves the admin API on its socket, on a thread of its own."""

import asyncio
import threading
from contextlib import suppress

import uvicorn

from steelyard.admin.api import application
from steelyard.admin.socket import AdminSocket
from steelyard.control import Control

__all__ = ["AdminServer"]

CONNECTIONS_MAX = 64
STOP_TIMEOUT_S = 5


class Server(uvicorn.Server):
    """Sleeps until it is told to end; uvicorn's own loop looks ten times a second, which is seen at rest."""

    _sleeping: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def main_loop(self) -> None:
        end = asyncio.Event()
        self._sleeping = (asyncio.get_running_loop(), end)
        await self.on_tick(0)
        # Looked at after it can be woken, so that an end told meanwhile is not missed.
        if not self.should_exit:
            await end.wait()

    def end(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._sleeping:
            loop, end = self._sleeping
            # A loop that has ended, with its thread, needs no telling.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end.set)


class AdminServer:
    """Runs until closed. Signals are left alone: uvicorn touches them on the main thread only."""

    def __init__(self, control: Control, socket: AdminSocket) -> None:
        self._socket = socket
        self._server = Server(
            uvicorn.Config(
                application(control),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # It would be as old as the process, since nothing renews it.
                date_header=False,
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
        self._server.end()
        self._thread.join(timeout=STOP_TIMEOUT_S)
        self._socket.close()
