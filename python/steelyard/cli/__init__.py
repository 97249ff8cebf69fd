"""The command line: reads arguments, calls the room that does the work, and says what came of it.

Exit codes: 0 done, 1 it failed while running, 2 wrong usage or configuration. Messages go to standard error,
results to standard output.
"""

import errno
import os
import sys

from steelyard.cli.output import report
from steelyard.errors import SteelyardError

__all__ = ["main"]

# Where results go takes no more of them.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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
    except OSError as error:
        # A closed pipe does not come here: that ends quietly.
        if error.errno not in FULL:
            raise
        drop_results()
        report(SteelyardError(f"the results cannot be written: {os.strerror(error.errno or 0).lower()}"))
        sys.exit(1)


def drop_results() -> None:
    """Else the interpreter tries once more when it ends, and complains."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
