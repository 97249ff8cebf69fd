"""Reloads when the configuration file changes."""

import threading
from pathlib import Path

import watchfiles

from steelyard.control import Control

__all__ = ["Watch"]


class Watch:
    """Watches the folder of the file, since editors replace files rather than write into them."""

    def __init__(self, control: Control, path: Path) -> None:
        self._control = control
        self._path = path
        self._stop = threading.Event()
        self._seen = content(path)
        self._thread = threading.Thread(target=self._run, name="steelyard-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        folder = self._path.absolute().parent
        for _ in watchfiles.watch(folder, stop_event=self._stop, recursive=False, debounce=200):
            now = content(self._path)
            if now is None or now == self._seen:
                continue
            self._seen = now
            self._control.try_reload()


def content(path: Path) -> bytes | None:
    """None while the file is away, as it is for a moment when it is replaced."""
    try:
        return path.read_bytes()
    except OSError:
        return None
