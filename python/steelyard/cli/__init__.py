"""The command line: reads arguments, calls the room that does the work, and says what came of it.

Exit codes: 0 done, 1 it failed while running, 2 wrong usage or configuration. Messages go to standard error,
results to standard output.
"""

import sys

from steelyard.cli.output import report
from steelyard.errors import SteelyardError

__all__ = ["main"]


def main() -> None:
    """The command `steelyard`."""
    if sys.platform != "linux":
        report(SteelyardError(f"steelyard runs on Linux only for now, and this is {sys.platform}"))
        sys.exit(1)
    # Only now, since it needs the extension.
    from steelyard.cli.app import app

    try:
        app()
    except SteelyardError as error:
        report(error)
        sys.exit(error.exit_code)
