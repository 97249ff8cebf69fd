"""Reloads when the configuration file changes."""

import logging
import threading
from pathlib import Path

import watchfiles

from steelyard.config import FILE_BYTES_MAX
from steelyard.control import Control

__all__ = ["Watch", "content"]

log = logging.getLogger("steelyard.watch")

LOOK_S = 2.0
"""How often the file is looked at though nothing was reported."""
DEBOUNCE_MS = 200


class Watch:
    """Watches the folder of the file, since editors replace files rather than write into them.

    What is reported only wakes it: the content is compared, and looked at now and then without any report,
    since none comes where the file is a link into another folder, or lies where the kernel reports nothing.
    `seen` is what the file held before the control loaded it, so that no change in between is lost.
    """

    def __init__(self, control: Control, path: Path, seen: bytes | None) -> None:
        self._control = control
        self._path = path
        self._seen = seen
        self._failure = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steelyard-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            try:
                self._follow()
            except Exception as error:
                # Of a folder that goes away, or watches that have run out, one line is enough.
                if (failure := str(error)) != self._failure:
                    self._failure = failure
                    log.warning("nothing reports changes of %s: %s", self._path, failure)
                self._stop.wait(LOOK_S)

    def _follow(self) -> None:
        """Looks whenever something is reported, and every few seconds, until told to stop."""
        for _ in watchfiles.watch(
            self._path.absolute().parent,
            # The names that editors and tools use for their own are no reason to overlook a configuration.
            watch_filter=None,
            stop_event=self._stop,
            recursive=False,
            debounce=DEBOUNCE_MS,
            rust_timeout=int(LOOK_S * 1000),
            yield_on_timeout=True,
        ):
            self._failure = ""
            self._look()

    def _look(self) -> None:
        now = content(self._path)
        if now is None or now == self._seen:
            return
        # Kept before it is loaded: what changes meanwhile is seen the next time.
        self._seen = now
        self._control.try_reload()


def content(path: Path) -> bytes | None:
    """None while the file is away, as it is for a moment when it is replaced, or none to compare."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            # One byte more than is ever loaded.
            return file.read(FILE_BYTES_MAX + 1)
    except OSError:
        return None
