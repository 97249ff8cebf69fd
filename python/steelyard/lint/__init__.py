"""Tries a policy written in Python before traffic does, and says what is wrong with it.

The function is driven in the simulator, beside the engine's own policies in the same world, and evaluated
directly. One check is one file.
"""

from steelyard.lint.report import Report
from steelyard.lint.run import lint

__all__ = ["Report", "lint"]
