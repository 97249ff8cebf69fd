"""`run --watch` notices every change of the file, however it comes about."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import watchfiles

from language import eventually
from steelyard import watch
from steelyard.config import FILE_BYTES_MAX
from steelyard.control import Control

NEVER_S = 3600.0
SOON_S = 0.05


class Reloads:
    """Stands for the control, and keeps what it was told to load."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded: list[str] = []

    def try_reload(self) -> None:
        self.loaded.append(self.path.read_text())


@contextmanager
def watching(path: Path, seen: bytes | None = b"old") -> Iterator[Reloads]:
    control = Reloads(path)
    started = watch.Watch(cast(Control, control), path, seen)
    started.start()
    try:
        yield control
    finally:
        started.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "steelyard.toml"
    made.write_text("old")
    return made


@pytest.fixture
def only_what_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", NEVER_S)


@pytest.fixture
def only_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", SOON_S)


@pytest.mark.usefixtures("only_what_is_reported")
@pytest.mark.parametrize("folder", [".venv", "node_modules", "site-packages", ".git"])
def test_what_is_reported_in_a_folder_of_any_name_is_looked_at(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "steelyard.toml"
    path.parent.mkdir()
    path.write_text("old")
    number = itertools.count()
    with watching(path) as control:

        def noticed() -> bool:
            # Again and again, since nothing says when the watching has begun. Once it looks without a report.
            path.write_text(f"new {next(number)}")
            return len(control.loaded) > 1

        eventually(noticed, "it has noticed")


@pytest.mark.usefixtures("only_what_is_reported")
def test_a_change_before_it_begins_is_not_lost(path: Path) -> None:
    path.write_text("new")
    with watching(path, seen=b"old") as control:
        eventually(lambda: control.loaded == ["new"], "it has noticed")


@pytest.mark.usefixtures("only_looking")
def test_a_change_behind_a_link_into_another_folder_is_noticed(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.toml"
    real.parent.mkdir()
    real.write_text("old")
    path = tmp_path / "here" / "steelyard.toml"
    path.parent.mkdir()
    path.symlink_to(real)
    with watching(path) as control:
        real.write_text("new")
        eventually(lambda: "new" in control.loaded, "it has noticed")


@pytest.mark.usefixtures("only_looking")
def test_a_failure_to_watch_is_said_once_and_ends_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed, began = itertools.count(1), threading.Event()
    real: Callable[..., Any] = watchfiles.watch

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(failed) < 4:
            raise OSError("no space left on device")
        began.set()
        return real(*arguments, **options)

    monkeypatch.setattr(watchfiles, "watch", failing)
    with watching(path) as control:
        path.write_text("new")
        eventually(lambda: "new" in control.loaded, "it has noticed")
        eventually(began.is_set, "it has begun anew")
    assert caplog.text.count("no space left on device") == 1


def test_only_files_are_read_and_never_without_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path, tmp_path / "none"):
        assert watch.content(path) is None
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 2**40)
    read = watch.content(large)
    assert read is not None
    assert len(read) == FILE_BYTES_MAX + 1
