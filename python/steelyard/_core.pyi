"""The native half of Steelyard."""

VERSION: str
