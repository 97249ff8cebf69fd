"""Routes: which request goes to which pool. The first that matches wins."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from steelyard import _core
from steelyard.config.base import Model, Name
from steelyard.config.listener import Strings
from steelyard.config.units import U32_MAX, refuse

__all__ = ["Route"]

ACTIONS = ("pool", "split", "redirect", "respond")


def each_once(fields: dict[str, str]) -> dict[str, str]:
    """Names of header fields know no case, so that a twin would be lost."""
    seen: dict[str, str] = {}
    for name in fields:
        if twin := seen.get(name.lower()):
            raise refuse(f'"{name}" is the same field as "{twin}"', "keep one of them: the case is no matter")
        seen[name.lower()] = name
    return fields


def sent_on(fields: dict[str, str]) -> dict[str, str]:
    for name in fields:
        if _core.is_lookalike(name):
            raise refuse(
                f'"{name}" would never be sent: much software reads it as "{name.replace("_", "-")}"',
                f'write "{name.replace("_", "-")}" if that is meant, or choose another name',
            )
    return fields


Fields = Annotated[dict[str, str], AfterValidator(each_once)]
FieldsToSet = Annotated[Fields, AfterValidator(sent_on)]


class Route(Model):
    """A match on the normalised path, the host and header fields, and what happens to the request."""

    listener: Name | None = None
    """The listener it belongs to; without it all of them."""
    host: str | None = None
    """Exact, or "*.example.com"."""
    path: str | None = None
    """A prefix, "=/exact" or "~regex"."""
    headers: Fields = Field(default_factory=dict)
    """Header fields that must be there with exactly this value."""
    pool: Name | None = None
    """Where the request goes."""
    split: dict[Name, Annotated[int, Field(ge=0, le=U32_MAX)]] | None = None
    """Pools and the share of each: { app = 95, app-next = 5 }."""
    redirect: str | None = None
    """Answered with 308 to this URL; path and query are appended where it ends in "/"."""
    respond: Annotated[int, Field(ge=200, le=599)] | None = None
    """Answered with this status and no body."""
    strip_prefix: bool = False
    """Whether the matched prefix is taken off before the request goes on."""
    set_headers: FieldsToSet = Field(default_factory=dict)
    """Header fields set on the request."""
    remove_headers: Strings = ()
    """Header fields removed from the request."""

    @model_validator(mode="after")
    def one_action(self) -> Self:
        given = [name for name in ACTIONS if getattr(self, name) is not None]
        if not given:
            raise refuse("the route does nothing", 'give it one of: pool = "app", split, redirect, respond')
        if len(given) > 1:
            raise refuse(f"the route has {' and '.join(given)}", "one of them is all a route can do")
        return self
