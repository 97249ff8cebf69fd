"""Speaks to a running instance over its admin socket."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from steelyard.admin.socket import is_trusted
from steelyard.errors import AdminError, InstanceError

__all__ = ["AdminClient"]

TIMEOUT_S = 30.0
REFUSED = {422: 2, 409: 1}
"""Answers to a change that is not made, and what the command ends with, as `run` does: the configuration is
wrong, or the machine does not allow it, as with an address in use.
"""


class AdminClient:
    """Tries each of `paths` in turn and speaks to the first that answers."""

    def __init__(self, paths: Sequence[Path], *, timeout_s: float = TIMEOUT_S) -> None:
        self._paths = tuple(paths)
        self._timeout_s = timeout_s

    def get(self, path: str) -> dict[str, Any]:
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        tried = []
        for socket in self._paths:
            if not is_trusted(socket.parent):
                tried.append(f"  {socket}: another user could have put it there, so it is not used")
                continue
            try:
                # Nothing is encrypted on a unix socket: no certificates need to be found and read.
                transport = httpx.HTTPTransport(uds=str(socket), verify=False)
                with httpx.Client(transport=transport, timeout=self._timeout_s) as client:
                    response = client.request(method, f"http://steelyard{path}", json=body)
            except httpx.ConnectError as error:
                tried.append(f"  {socket}: {reason(error, socket)}")
            except httpx.HTTPError as error:
                message = f"the instance at {socket} did not answer: {str(error).lower()}"
                raise AdminError(message) from error
            else:
                return content(response, socket)
        raise InstanceError(
            "no running instance was found; tried\n" + "\n".join(tried),
            hint="is one running, as this user? --socket PATH or $STEELYARD_SOCKET says where",
        )


def reason(error: httpx.ConnectError, socket: Path) -> str:
    try:
        if not socket.exists():
            return "no such file"
    except OSError as failure:
        return (failure.strerror or str(failure)).lower()
    text = str(error).lower()
    if "refused" in text:
        return "nobody listens (left by an instance that is gone)"
    return text.rpartition("] ")[2]


def content(response: httpx.Response, socket: Path) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError as error:
        raise AdminError(f"the instance at {socket} answered no JSON ({response.status_code})") from error
    if not isinstance(body, dict):
        raise AdminError(f"the instance at {socket} answered something else than expected")
    if response.status_code < 400:
        return body
    problem = body.get("error", {})
    message = str(problem.get("message", f"status {response.status_code}"))
    if response.status_code in REFUSED:
        message = f"the old configuration stays in force\n{message}"
    raise AdminError(
        message,
        hint=problem.get("hint"),
        exit_code=REFUSED.get(response.status_code, 2 if response.status_code < 500 else 1),
    )
