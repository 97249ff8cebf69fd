"""Which file is the configuration when none is named."""

import os
from collections.abc import Mapping
from pathlib import Path

from steelyard.errors import UsageError

__all__ = ["find"]

VARIABLE = "STEELYARD_CONFIG"
PLACES = (Path("steelyard.toml"), Path("/etc/steelyard/steelyard.toml"))


def find(named: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The file that was named, or the first of the usual places. Raises UsageError where there is none."""
    if named is not None:
        return named
    if from_environment := environment.get(VARIABLE):
        return Path(from_environment)
    for place in PLACES:
        if may_be(place):
            return place
    names = (str(place) if place.is_absolute() else f"./{place}" for place in PLACES)
    tried = ", ".join([f"${VARIABLE}", *names])
    raise UsageError(f"there is no configuration; looked at {tried}", hint="steelyard init writes one")


def may_be(place: Path) -> bool:
    """What cannot be looked at may be there; who reads it then says that it may not."""
    try:
        return place.exists()
    except PermissionError:
        return True
