"""Steelyard: a load balancer steered in Python that carries its traffic in Rust."""

from steelyard._core import VERSION as __version__

__all__ = ["__version__"]
