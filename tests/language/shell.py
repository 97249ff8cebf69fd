"""The command `steelyard`, as a person or an init system runs it."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from language.scope import keep
from language.waiting import eventually

RUN = "import sys; from steelyard.cli import main; sys.exit(main())"


class Command:
    """`steelyard run` on a file of its own, with an admin socket of its own."""

    def __init__(self, text: str, run: str = RUN) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.file = folder / "steelyard.toml"
        self.write(text)
        self._environment = {**os.environ, "STEELYARD_SOCKET": str(folder / "admin.sock")}
        self._errors: IO[bytes] = (folder / "errors").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-c", run, "run", str(self.file)],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=self._environment,
        )

    def write(self, text: str) -> None:
        """Puts another text into the file, whole or not at all."""
        draft = self.file.with_suffix(".part")
        draft.write_text(text)
        draft.rename(self.file)

    def steelyard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `steelyard`, which finds this one by its admin socket."""
        return subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            check=False,
            timeout=60,
        )

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def expect_exit(self) -> int:
        return self.process.wait(timeout=60)

    def errors(self) -> str:
        """What it has written to standard error so far."""
        return Path(self._errors.name).read_text(errors="replace")

    def expect_said(self, words: str) -> None:
        eventually(lambda: words in self.errors(), f"it says {words!r}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._errors.close()
        self._folder.cleanup()


def command(text: str, *, run: str = RUN) -> Command:
    """`run` is the program that it is started by."""
    return keep(Command(text, run))
