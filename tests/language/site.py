"""A site as people make them: pages, uploads, events and WebSockets, served by aiohttp over HTTP/1.1."""

import asyncio
import hashlib
import threading
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from language.scope import keep

PAGE = "<!doctype html><meta charset=utf-8><title>Through</title><p>{method}</p>"
MESSAGE_BYTES_MAX = 64 * 2**20


class Site:
    """A server on a thread of its own. It keeps count of what it was asked for."""

    def __init__(self) -> None:
        self.sockets = 0
        self._seen: asyncio.Event | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site")
        self._thread.start()
        self.port = self._do(self._start())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._do(self._runner.cleanup())
        self._do(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> int:
        app = web.Application(client_max_size=MESSAGE_BYTES_MAX)
        app.add_routes(
            [
                web.get("/", self._page),
                web.post("/upload", self._upload),
                web.get("/events", self._events),
                web.post("/seen", self._was_seen),
                web.get("/socket", self._socket),
            ]
        )
        self._seen = asyncio.Event()
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE.format(method=request.method), content_type="text/html")

    async def _upload(self, request: web.Request) -> web.Response:
        sum_of, count = hashlib.sha256(), 0
        async for piece in request.content.iter_any():
            sum_of.update(piece)
            count += len(piece)
        return web.json_response({"bytes": count, "sha256": sum_of.hexdigest()})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Three events, each only once the page says that it has seen the one before."""
        assert self._seen is not None
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for number in range(3):
            self._seen.clear()
            await stream.write(f"data: {number}\n\n".encode())
            await self._seen.wait()
        return stream

    async def _was_seen(self, request: web.Request) -> web.Response:
        assert self._seen is not None
        self._seen.set()
        return web.Response()

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        """Echoes; "close" is answered by the end."""
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_BYTES_MAX, protocols=["echo"])
        await socket.prepare(request)
        self.sockets += 1
        async for message in socket:
            if message.type == WSMsgType.TEXT and message.data == "close":
                await socket.close(code=4001, message=b"as you wish")
            elif message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket


def site() -> Site:
    return keep(Site())
