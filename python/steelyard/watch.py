"""Follows files: the configuration where that is wished for, certificates always."""

import logging
import threading
from abc import ABC, abstractmethod
from pathlib import Path

import watchfiles

from steelyard.config import FILE_BYTES_MAX
from steelyard.control import Control

__all__ = ["CertificateWatch", "Watch", "content"]

log = logging.getLogger("steelyard.watch")

LOOK_S = 2.0
"""How often the file is looked at though nothing was reported."""
DEBOUNCE_MS = 200


class Watching(ABC):
    """A thread that looks whenever something is reported of some folders.

    It looks now and then without any report too, since none comes where a file is a link into another folder,
    or lies where the kernel reports nothing.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failure = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"steelyard-watch-{what}", daemon=True)

    @abstractmethod
    def folders(self) -> set[Path]:
        """Those of which something may be reported."""

    @abstractmethod
    def look(self) -> None:
        """Does what a change asks for, if there is one."""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            try:
                self._follow()
            except Exception as error:
                # Of a folder that goes away, or watches that have run out, one line is enough.
                if (failure := str(error)) != self._failure:
                    self._failure = failure
                    log.warning("nothing reports changes of %s: %s", self._what, failure)
                self._stop.wait(LOOK_S)

    def _follow(self) -> None:
        """Looks whenever something is reported, and every few seconds, until other folders matter."""
        folders = self.folders()
        if not folders:
            self._stop.wait(LOOK_S)
            return
        for _ in watchfiles.watch(
            *folders,
            # The names that editors and tools use for their own are no reason to overlook a configuration.
            watch_filter=None,
            stop_event=self._stop,
            recursive=False,
            debounce=DEBOUNCE_MS,
            rust_timeout=int(LOOK_S * 1000),
            yield_on_timeout=True,
        ):
            self._failure = ""
            self.look()
            if self.folders() != folders:
                return


class Watch(Watching):
    """Reloads when the configuration changes: its content is compared.

    Its folder is watched, since editors replace files rather than write into them.

    `seen` is what the file held before the control loaded it, so that no change in between is lost.
    """

    def __init__(self, control: Control, path: Path, seen: bytes | None) -> None:
        super().__init__(str(path))
        self._control = control
        self._path = path
        self._seen = seen

    def folders(self) -> set[Path]:
        return {self._path.absolute().parent}

    def look(self) -> None:
        now = content(self._path)
        if now is None or now == self._seen:
            return
        # Kept before it is loaded: what changes meanwhile is seen the next time.
        self._seen = now
        self._control.try_reload()


class CertificateWatch(Watching):
    """Has certificates, keys and authorities loaded anew when their files change."""

    def __init__(self, control: Control) -> None:
        super().__init__("certificates")
        self._control = control

    def folders(self) -> set[Path]:
        return {file.parent for file in self._control.files}

    def look(self) -> None:
        self._control.follow_files()


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
