"""From a TOML file to frozen, checked models, and from those to the document the engine reads."""

from steelyard.config.document import document
from steelyard.config.load import from_arguments, load, load_text
from steelyard.config.overlay import EndpointKey, Overlay
from steelyard.config.pool import DEFAULT_POLICY, POLICIES
from steelyard.config.root import Config
from steelyard.config.search import find
from steelyard.config.show import show

__all__ = [
    "DEFAULT_POLICY",
    "POLICIES",
    "Config",
    "EndpointKey",
    "Overlay",
    "document",
    "find",
    "from_arguments",
    "load",
    "load_text",
    "show",
]
