"""What a test opens is closed when its scope ends, in reverse order, and the descriptors are back."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from language.waiting import eventually


class Closable(Protocol):
    def close(self) -> object: ...


Kept = TypeVar("Kept", bound=Closable)

_scopes: list[ExitStack] = []


def keep(thing: Kept) -> Kept:
    """Hands `thing` to the innermost open scope, which will close it."""
    _scopes[-1].callback(thing.close)
    return thing


@contextmanager
def scope(*, counting: bool = True) -> Iterator[None]:
    """A scope; when the outermost ends, every descriptor opened within has to be gone."""
    outermost = counting and not _scopes
    before = descriptors() if outermost else {}
    stack = ExitStack()
    _scopes.append(stack)
    try:
        with stack:
            yield
    finally:
        _scopes.remove(stack)
    if outermost:
        gc.collect()
        eventually(lambda: nothing_more_than(before), "descriptors are back", within_s=10)


def descriptors() -> dict[str, str]:
    """Every open descriptor of this process and what it is."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the one that lists the folder
            continue
    return found


def nothing_more_than(before: dict[str, str]) -> bool:
    now = descriptors()
    assert len(now) <= len(before), {
        number: what for number, what in now.items() if before.get(number) != what
    }
    return True
