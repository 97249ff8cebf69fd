"""The native half of Steelyard."""

from collections.abc import Callable
from typing import final

__all__ = [
    "POLICIES",
    "VERSION",
    "BindError",
    "DocumentError",
    "Engine",
    "EngineFailed",
    "EngineStopped",
    "Origin",
    "TomlError",
    "build_info",
    "check",
    "check_files",
    "check_scenario",
    "is_lookalike",
    "origin_main",
    "simulate",
    "toml_positions",
]

VERSION: str
POLICIES: list[str]

class TomlError(ValueError):
    """Text that is no TOML. `args` are the reason, the line and the column, both from 1."""

class EngineStopped(RuntimeError): ...

class EngineFailed(RuntimeError):
    """The engine has stopped for a fault of its own; its log says which."""

class DocumentError(ValueError):
    """A document the engine refuses. `args[0]` is the JSON list of problems that `check` returns."""

class BindError(OSError):
    """An address that cannot be bound: `filename` is the listener, `filename2` the address.

    A note says what to do, where that is known.
    """

def build_info() -> str: ...
def toml_positions(text: str) -> list[tuple[list[str | int], int, int]]: ...
def check(document: str) -> str: ...
def check_files(document: str) -> str: ...
def check_scenario(document: str) -> str: ...
def simulate(document: str, progress: Callable[[int, int], object] | None = None) -> str: ...
def is_lookalike(name: str) -> bool: ...

@final
class Engine:
    @staticmethod
    def start(document: str, options: str) -> Engine: ...
    def apply(self, document: str, read_files: bool = True) -> str: ...
    def show(self, proofs: str) -> None: ...
    def status(self) -> str: ...
    def facts(self) -> str: ...
    def take_weights(self, weights: str) -> bool: ...
    def wait(self, timeout_s: float) -> str | None:
        """Raises `EngineFailed` once it has stopped for a fault of its own."""

    def stop(self, now: bool = False) -> None: ...
    def close(self) -> None: ...

@final
class Origin:
    @staticmethod
    def start(options: str) -> Origin: ...
    @property
    def port(self) -> int: ...
    def stats(self) -> str: ...
    def close(self) -> None: ...

def origin_main(arguments: list[str]) -> int: ...
