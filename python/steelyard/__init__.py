"""Steelyard: a load balancer steered in Python that carries its traffic in Rust."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard._core import VERSION as __version__
    from steelyard.config import Config
    from steelyard.control import ConfigSource, Control
    from steelyard.errors import SteelyardError

__all__ = ["Config", "ConfigSource", "Control", "SteelyardError", "__version__"]

PLACES = {
    "Config": "steelyard.config",
    "ConfigSource": "steelyard.control",
    "Control": "steelyard.control",
    "SteelyardError": "steelyard.errors",
}


def __getattr__(name: str) -> Any:
    """Each name is loaded when it is first asked for.

    So a command can say on which system it is without the extension, and nobody who only wants the version
    waits for the models of the configuration.
    """
    from importlib import import_module

    if name == "__version__":
        value = import_module("steelyard._core").VERSION
    elif name in PLACES:
        value = getattr(import_module(PLACES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
