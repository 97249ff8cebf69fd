"""HTTP/3: whether a listener speaks it, and how browsers learn of that."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from steelyard.config.base import Model
from steelyard.config.tls import PORT_MAX
from steelyard.config.units import refuse

__all__ = ["Http3OrOff"]


def parse_alt_svc(value: object) -> bool | int:
    if isinstance(value, bool):
        return value
    if not isinstance(value, int) or not 1 <= value <= PORT_MAX:
        raise refuse("expected true, false or a port", f"from 1 to {PORT_MAX}; true is the listener's own")
    return value


class Http3(Model):
    """HTTP/3 over UDP, on the addresses of the listener."""

    alt_svc: Annotated[
        bool | int,
        BeforeValidator(
            parse_alt_svc, json_schema_input_type=bool | Annotated[int, Field(ge=1, le=PORT_MAX)]
        ),
    ] = True
    """Whether responses over TCP say that there is HTTP/3; or the port that they name, where it is another
    to those outside."""
    early_data: bool = False
    """Whether requests may come with the first packet of a client that was here before (0-RTT). Others can
    send copies of those: only what is safe to repeat is taken, the rest is answered 425."""


def http3_or_none(value: object) -> object:
    if value is True:
        return {}
    if value is False or value is None:
        return None
    if isinstance(value, dict | Http3):
        return value
    raise refuse("expected true, false or a table", "for instance true, or { early_data = true }")


def http3_text(http3: Http3 | None) -> Any:
    if http3 is None:
        return False
    return True if http3 == Http3() else http3.model_dump(mode="json")


Http3OrOff = Annotated[
    Http3 | None,
    BeforeValidator(http3_or_none, json_schema_input_type=bool | Http3),
    PlainSerializer(http3_text),
]
