"""The socket of an instance: whose it is, where it is looked for, and whom a client trusts there."""

import os
import socket
import stat
from pathlib import Path

import pytest

from steelyard.admin.client import AdminClient
from steelyard.admin.socket import AdminSocket, candidates, is_trusted, server_path
from steelyard.errors import InstanceError, UsageError


class TestTheAdminSocket:
    def test_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        opened = AdminSocket(tmp_path / "new" / "admin.sock")
        assert stat.S_IMODE(opened.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(opened.path.parent.stat().st_mode) == 0o700
        opened.close()
        assert not opened.path.exists()

    def test_refuses_a_second_instance(self, tmp_path: Path) -> None:
        first = AdminSocket(tmp_path / "admin.sock")
        with pytest.raises(InstanceError, match="another instance already runs"):
            AdminSocket(tmp_path / "admin.sock")
        first.close()

    def test_takes_over_what_a_dead_instance_left(self, tmp_path: Path) -> None:
        path = tmp_path / "admin.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        AdminSocket(path).close()

    def test_touches_nothing_that_is_no_socket(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(InstanceError, match="is there and is no socket"):
            AdminSocket(tmp_path / "file")
        assert (tmp_path / "file").read_text() == "mine"

    def test_leaves_the_name_to_the_instance_that_has_taken_it(self, tmp_path: Path) -> None:
        first = AdminSocket(tmp_path / "admin.sock")
        first.path.unlink()
        second = AdminSocket(tmp_path / "admin.sock")
        first.close()
        assert second.path.exists()
        second.close()

    def test_a_path_that_no_socket_can_have_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="longer than 107 bytes"):
            AdminSocket(tmp_path / ("x" * 110))

    def test_is_looked_for_in_this_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
        environment = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/1000"}
        assert [str(path) for path in candidates(None, environment)] == [
            "/run/a/admin.sock",
            "/run/user/1000/steelyard/admin.sock",
            "/tmp/steelyard-1000/admin.sock",
        ]
        assert candidates(None, {**environment, "STEELYARD_SOCKET": "/x"}) == [Path("/x")]
        assert candidates(Path("/y"), {"STEELYARD_SOCKET": "/x"}) == [Path("/y")]
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert candidates(None, {})[0] == Path("/run/steelyard/admin.sock")

    def test_the_command_line_wins_over_the_environment_and_that_over_the_file(self) -> None:
        environment = {"STEELYARD_SOCKET": "/env.sock"}
        assert server_path(Path("/arg.sock"), "/file.sock", environment) == Path("/arg.sock")
        assert server_path(None, "/file.sock", {}) == Path("/file.sock")
        assert server_path(Path("off"), "auto", {}) is None
        assert server_path(None, "off", {}) is None
        assert server_path(None, "/file.sock", environment) == Path("/env.sock")

    def test_an_empty_variable_says_nothing_and_off_is_off(self) -> None:
        assert server_path(None, "off", {"STEELYARD_SOCKET": ""}) is None
        assert server_path(None, "/file.sock", {"STEELYARD_SOCKET": ""}) == Path("/file.sock")
        assert server_path(None, "auto", {"STEELYARD_SOCKET": "off"}) is None
        assert server_path(Path("/arg.sock"), "auto", {"STEELYARD_SOCKET": "off"}) == Path("/arg.sock")
        assert candidates(None, {"STEELYARD_SOCKET": ""}) == candidates(None, {})
        with pytest.raises(UsageError, match=r"\$STEELYARD_SOCKET is off"):
            candidates(None, {"STEELYARD_SOCKET": "off"})
        with pytest.raises(UsageError, match="--socket is off"):
            candidates(Path("off"), {})


def test_a_client_trusts_no_folder_that_another_may_have_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"steelyard-{os.geteuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(InstanceError, match="another user could have put it there"):
        AdminClient([folder / "admin.sock"]).get("/v1/status")
    folder.chmod(0o700)
    assert is_trusted(folder)
