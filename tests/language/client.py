"""An ordinary client: http.client, with what tests ask of it."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from language.raw import Reachable
from language.scope import keep
from language.wire import PATIENCE_S

Body = bytes | Iterable[bytes] | None


@dataclass(frozen=True)
class Reply:
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        values = [value for known, value in self.fields if known.lower() == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def origin(self) -> str | None:
        """Which origin answered; None where the proxy did."""
        return self.get("x-origin")

    def json(self) -> Any:
        return json.loads(self.body)

    def seen(self, name: str) -> list[str]:
        """The values of a field as the origin saw it, of a reply of /echo."""
        return [value for known, value in self.json()["headers"] if known.lower() == name.lower()]


class Client:
    """One keep-alive connection."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        if tls is None:
            self._connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        else:
            self._connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=tls)

    def request(
        self, method: str, target: str = "/", *, headers: Mapping[str, str] | None = None, body: Body = None
    ) -> Reply:
        """`body` as bytes is sent with its length, as an iterable in chunks."""
        self._connection.request(method, target, body=body, headers=dict(headers or {}))
        with self._connection.getresponse() as answer:
            return Reply(answer.status, answer.getheaders(), answer.read())

    def get(self, target: str = "/", *, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", target, headers=headers)

    def post(self, target: str = "/", body: Body = b"", *, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", target, headers=headers, body=body)

    def close(self) -> None:
        self._connection.close()


def client(proxy: Reachable, listener: str = "web", *, tls: ssl.SSLContext | None = None) -> Client:
    return keep(Client(*proxy.listening(listener), tls))


def request(
    proxy: Reachable,
    method: str = "GET",
    target: str = "/",
    *,
    listener: str = "web",
    headers: Mapping[str, str] | None = None,
    body: Body = None,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """One request on a connection of its own."""
    one = Client(*proxy.listening(listener), tls)
    try:
        return one.request(method, target, headers=headers, body=body)
    finally:
        one.close()


class Pending:
    """A request under way on a thread of its own."""

    def __init__(self, proxy: Reachable, method: str, target: str, body: Body) -> None:
        self._reply: Reply | BaseException | None = None
        self._arguments = (proxy, method, target, body)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        proxy, method, target, body = self._arguments
        try:
            self._reply = request(proxy, method, target, body=body)
        except (OSError, http.client.HTTPException) as error:
            self._reply = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def reply(self) -> Reply:
        """Waits for its end. Raises what the client saw where it failed."""
        self._thread.join(PATIENCE_S * 2)
        assert self._reply is not None, "no answer came"
        if isinstance(self._reply, BaseException):
            raise AssertionError(f"the request failed: {self._reply!r}") from self._reply
        return self._reply

    def close(self) -> None:
        self._thread.join(PATIENCE_S * 2)


def in_background(proxy: Reachable, target: str = "/", *, method: str = "GET", body: Body = None) -> Pending:
    """Starts a request and goes on."""
    return keep(Pending(proxy, method, target, body))
