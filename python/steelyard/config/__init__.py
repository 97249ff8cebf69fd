"""From a TOML file to frozen, checked models, and from those to the document the engine reads."""

from pathlib import Path

from steelyard.config.address import canonical
from steelyard.config.document import document
from steelyard.config.files import tls_files
from steelyard.config.load import from_arguments, load, load_text, problem_in, warnings
from steelyard.config.overlay import EndpointKey, Overlay
from steelyard.config.policy import DEFAULT_POLICY, POLICIES
from steelyard.config.root import Config
from steelyard.config.search import find
from steelyard.config.show import show
from steelyard.config.source import FILE_BYTES_MAX, KeyPath, key_text

__all__ = [
    "DEFAULT_POLICY",
    "FILE_BYTES_MAX",
    "POLICIES",
    "SCHEMA_PATH",
    "Config",
    "EndpointKey",
    "KeyPath",
    "Overlay",
    "canonical",
    "document",
    "find",
    "from_arguments",
    "key_text",
    "load",
    "load_text",
    "problem_in",
    "show",
    "tls_files",
    "warnings",
]

SCHEMA_PATH = Path(__file__).with_name("schema.json")
"""The JSON Schema of the file, for editors."""
