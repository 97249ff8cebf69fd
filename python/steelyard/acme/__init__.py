"""Automatic certificates: obtains them, proves the names, renews them in time (ACME, RFC 8555)."""

from steelyard.acme.keeper import Keeper
from steelyard.acme.store import prepare

__all__ = ["Keeper", "prepare"]
