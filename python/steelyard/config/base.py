"""What every model of the configuration shares: strict, frozen, and no key that it does not know."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from steelyard.config.units import refuse

__all__ = ["Model", "Name", "nearest", "one_of", "table_with"]


class Model(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


# What other load balancers call it.
ELSEWHERE = {
    "server": "endpoints",
    "servers": "endpoints",
    "targets": "endpoints",
    "backend": "pools",
    "backends": "pools",
    "cluster": "pools",
    "clusters": "pools",
    "upstream": "pools",
    "upstreams": "pools",
    "frontend": "listeners",
    "frontends": "listeners",
    "balance": "policy",
    "algorithm": "policy",
    "lb_policy": "policy",
    "maxconn": "requests",
    "leastconn": "least_request",
    "least_conn": "least_request",
    "roundrobin": "round_robin",
}


def nearest(written: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_plain = {plain(word): word for word in known}
    if same := by_plain.get(ELSEWHERE.get(plain(written), "")):
        return same
    near = get_close_matches(plain(written), by_plain, n=1, cutoff=0.6)
    return by_plain[near[0]] if near else None


def plain(word: str) -> str:
    return word.lower().replace("-", "_")


def did_you_mean(written: str, known: Iterable[str]) -> str | None:
    """The same as a hint."""
    near = nearest(written, known)
    return f'did you mean "{near}"?' if near else None


def quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def one_of(what: str, *known: str) -> BeforeValidator:
    """Refuses a word that is none of `known`, with the one that was probably meant."""

    def check(value: object) -> object:
        if not isinstance(value, str):
            raise refuse(f"expected a {what}", f"one of {quoted(known)}")
        if value not in known:
            raise refuse(f'unknown {what} "{value}"', did_you_mean(value, known) or f"one of {quoted(known)}")
        return value

    return BeforeValidator(check)


def table_with(key: str, what: str, example: str) -> Any:
    """A validator that takes a bare string for a table with only this key."""

    def check(value: object) -> object:
        # A model has been checked already.
        if isinstance(value, dict | BaseModel):
            return value
        if not isinstance(value, str):
            raise refuse(f"expected {what} or a table", f"for instance {example}")
        return {key: value}

    return check


NAME = "[A-Za-z0-9_.-]{1,64}"


def check_name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(NAME, value):
        raise refuse(f'"{value}" is no name', "up to 64 letters, digits, dots, dashes and underscores")
    return value


Name = Annotated[str, BeforeValidator(check_name), Field(json_schema_extra={"pattern": f"^{NAME}$"})]
"""What a listener or a pool is called; names appear in metrics and commands."""
