"""Where the admin socket is, for the server and for its clients, and how it is opened safely."""

import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from steelyard.errors import InstanceError, UsageError

__all__ = ["AdminSocket", "candidates", "is_trusted", "server_path"]

VARIABLE = "STEELYARD_SOCKET"
OFF = "off"
FILE = "admin.sock"
PATH_BYTES_MAX = 107
BACKLOG = 64


def candidates(given: Path | None, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where a client looks, in this order; one place only where it was told which."""
    if told := named(given, environment):
        path, by = told
        if str(path) == OFF:
            raise UsageError(
                f"{by} is off, so that no instance can be asked", hint="--socket PATH says where"
            )
        return [path]
    return usual_places(environment)


def named(given: Path | None, environment: Mapping[str, str]) -> tuple[Path, str] | None:
    """The path that was told, and by what. An empty variable says nothing."""
    if given is not None:
        return given, "--socket"
    if written := environment.get(VARIABLE):
        return Path(written), f"${VARIABLE}"
    return None


def usual_places(environment: Mapping[str, str]) -> list[Path]:
    places = []
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        places.append(Path(runtime.split(":")[0]))
    if os.geteuid() == 0:
        places.append(Path("/run/steelyard"))
    if session := environment.get("XDG_RUNTIME_DIR"):
        places.append(Path(session) / "steelyard")
    places.append(Path(tempfile.gettempdir()) / f"steelyard-{os.geteuid()}")
    return [place / FILE for place in places]


def server_path(
    given: Path | None, configured: str, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """Where the server opens its socket; None when it is off.

    The command line wins over the environment and that over the file.
    """
    if told := named(given, environment):
        return None if str(told[0]) == OFF else told[0]
    if configured != "auto":
        return None if configured == OFF else Path(configured)
    found = usual_places(environment)
    return next((path for path in found if usable(path.parent)), found[-1])


def usable(folder: Path) -> bool:
    """Whether we may put a socket there, or make the folder to put it in."""
    try:
        there = folder if folder.is_dir() else folder.parent
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except PermissionError:
        # It lies in a folder of somebody else, as $XDG_RUNTIME_DIR does after su.
        return False


class AdminSocket:
    """A listening unix socket that only its owner may speak to.

    Raises InstanceError where another instance listens on it; a socket that a dead one left is taken over.
    """

    def __init__(self, path: Path) -> None:
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise UsageError(
                f"the path of the admin socket is longer than {PATH_BYTES_MAX} bytes: {path}",
                hint="choose a shorter one with --socket",
            )
        self.path = path
        try:
            make_folder(path.parent)
            with locked(path.parent):
                take_over(path)
                self.socket = bound(path)
                self._identity = identity(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InstanceError(
                f"cannot open the admin socket {path}: {reason}",
                hint='choose another place with --socket, or none with [admin] socket = "off"',
            ) from error

    def close(self) -> None:
        """Closes it and takes its name away, unless another instance has put its own there."""
        self.socket.close()
        with suppress(OSError):
            if identity(self.path) == self._identity:
                self.path.unlink()


def identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700)
        return
    if not is_trusted(folder):
        raise PermissionError(1, f"{folder} is not ours alone")


def is_trusted(folder: Path) -> bool:
    """Whether nobody else can have put a socket there: anyone may make a folder in a temporary one."""
    if folder.parent != Path(tempfile.gettempdir()) or not folder.name.startswith("steelyard-"):
        return True
    try:
        found = folder.lstat()
    except OSError:
        # Nothing that could be used is there.
        return True
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps two instances that start at once from taking over the same dead socket."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def take_over(path: Path) -> None:
    """Removes a socket that nobody listens on."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InstanceError(f"{path} is there and is no socket", hint="choose another place with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass
    raise InstanceError(
        f"another instance already runs with the admin socket {path}",
        hint="steelyard status shows it; a second one needs its own: --socket PATH, or --socket off",
    )


def bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(os.fspath(path))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening
