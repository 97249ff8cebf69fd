"""The admin API. It turns requests into calls of the control and errors into answers; it decides nothing."""

from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from steelyard import __version__, config
from steelyard.control import Control, build_info
from steelyard.errors import BindError, ConfigError, InstanceError, SteelyardError, UsageError

__all__ = ["application"]

BODY_BYTES_MAX = 64 * 2**10
WEIGHT_MAX = 2**32 - 1

Text = Annotated[str, Field(min_length=1, max_length=512)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class EndpointChange(Strict):
    endpoint: Text


class WeightChange(EndpointChange):
    weight: Annotated[int, Field(ge=0, le=WEIGHT_MAX)] | None


class PolicyChange(Strict):
    pool: Text
    policy: Text | None


def application(control: Control) -> FastAPI:
    """The API of one running instance."""
    app = FastAPI(title="Steelyard", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(BoundedBody)
    app.add_exception_handler(SteelyardError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, no_such)
    app.add_exception_handler(Exception, broken)
    add_questions(app, control)
    add_changes(app, control)
    return app


def add_questions(app: FastAPI, control: Control) -> None:
    @app.get("/v1/status")
    def status() -> dict[str, Any]:
        return control.status()

    @app.get("/v1/config")
    def effective() -> dict[str, Any]:
        return {
            "config": str(control.source.path or control.source.name),
            "toml": config.show(control.config),
            "overlay": control.overlay.as_json(control.config),
        }

    @app.get("/v1/version")
    def version() -> dict[str, Any]:
        return build_info()

    @app.get("/v1/ready")
    def ready(response: Response) -> dict[str, Any]:
        state = control.status()["state"]
        response.status_code = 200 if state == "running" else 503
        return {"state": state}


def add_changes(app: FastAPI, control: Control) -> None:
    @app.post("/v1/reload")
    def reload() -> dict[str, Any]:
        return {
            "generation": control.reload(),
            "config": str(control.source.path or control.source.name),
            "notices": control.notices(),
        }

    @app.post("/v1/drain")
    def drain(change: EndpointChange) -> dict[str, Any]:
        return {**named(control, change.endpoint), "generation": control.drain(change.endpoint)}

    @app.post("/v1/undrain")
    def undrain(change: EndpointChange) -> dict[str, Any]:
        # Named before it is undone: what has left the file is known by the change alone.
        return {**named(control, change.endpoint), "generation": control.undrain(change.endpoint)}

    @app.post("/v1/weight")
    def weight(change: WeightChange) -> dict[str, Any]:
        found = named(control, change.endpoint)
        return {
            **found,
            "generation": control.weight(change.endpoint, change.weight),
            "weight": change.weight,
        }

    @app.post("/v1/policy")
    def policy(change: PolicyChange) -> dict[str, Any]:
        generation = control.policy(change.pool, change.policy)
        return {"generation": generation, "pool": change.pool, "policy": change.policy}


def named(control: Control, endpoint: str) -> dict[str, str]:
    pool, address = control.find(endpoint)
    return {"pool": pool, "address": address}


def answer(status: int, message: str, hint: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "hint": hint}}, status)


async def refused(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SteelyardError):
        raise error
    status = (
        400
        if isinstance(error, UsageError)
        else 422
        if isinstance(error, ConfigError)
        else 409
        if isinstance(error, BindError)
        else 503
        if isinstance(error, InstanceError)
        else 500
    )
    return answer(status, error.message, error.hint)


async def malformed(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"] if step != "body")
    message = str(first["msg"])
    return answer(400, ": ".join(part for part in (place, message[:1].lower() + message[1:]) if part))


async def no_such(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    message = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
    unknown = error.status_code in (404, 405)
    return answer(error.status_code, message, "GET /openapi.json lists what there is" if unknown else None)


async def broken(_: Request, error: Exception) -> JSONResponse:
    """A fault of ours. It is raised on afterwards, so that it is logged where it can be looked into."""
    message = f"the instance failed: {type(error).__name__}"
    return answer(500, message, "its log says where and why")


class BoundedBody:
    """Refuses a request body over the bound before any of it is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > BODY_BYTES_MAX:
                raise HTTPException(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
            return message

        await self._app(scope, bounded, send)
