"""The engine's refusals as people hear them, and the admin API without a process around it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from language import eventually
from steelyard import _core, config
from steelyard.admin.server import AdminServer
from steelyard.admin.socket import AdminSocket
from steelyard.control import ConfigSource, Control
from steelyard.errors import BindError, ConfigError, EngineError, InstanceError, UsageError

TWO_POOLS = """\
[log]
level = "error"
[listeners.web]
bind = ["127.0.0.1:0"]
pool = "app"
[pools.app]
endpoints = ["127.0.0.1:9", "127.0.0.2:9"]
health.interval = "off"
[pools.next]
endpoints = ["127.0.0.1:9"]
health.interval = "off"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "steelyard.toml"
    made.write_text(TWO_POOLS)
    return made


@pytest.fixture
def control(path: Path) -> Iterator[Control]:
    source = ConfigSource(str(path), path, lambda: config.load(path))
    started = Control.start(source, source.load(), seed=1)
    yield started
    started.close()


def endpoints(control: Control, pool: str = "app") -> dict[str, tuple[int, str]]:
    (found,) = [one for one in control.status()["pools"] if one["name"] == pool]
    return {one["address"]: (one["weight"], one["verdict"]) for one in found["endpoints"]}


def known_as(control: Control) -> dict[str, str]:
    """The verdict of each endpoint by the name that commands take; a host name may have several rows."""
    rows = [one for pool in control.status()["pools"] for one in pool["endpoints"]]
    return {one["configured"]: one["verdict"] for one in rows}


class TestRefusals:
    def refused(self, address: str) -> str:
        loaded = config.load_text(TWO_POOLS.replace("127.0.0.1:0", address))
        with pytest.raises(BindError) as caught:
            Control.start(ConfigSource("my.toml", None, lambda: loaded), loaded)
        assert caught.value.message.startswith(f'cannot listen on {address} for listener "web" of my.toml: ')
        return str(caught.value).partition("my.toml: ")[2]

    def test_each_has_its_remedy(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert self.refused(f"127.0.0.1:{taken.getsockname()[1]}") == (
                "address already in use\n"
                "hint: another process listens there (ss -ltunp shows which); stop it or choose another port"
            )
        assert self.refused("192.0.2.1:8080") == (
            "cannot assign requested address\n"
            "hint: this machine has no such address (ip address shows those it has)"
        )
        assert self.refused(f"unix:{tmp_path}/none/web.sock") == (
            "no such file or directory\nhint: make the directory first"
        )
        (tmp_path / "file").touch()
        assert self.refused(f"unix:{tmp_path}/file") == (
            "there is a file that is no socket\nhint: move it away or choose another path"
        )
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(f"{tmp_path}/web.sock")
            other.listen()
            assert self.refused(f"unix:{tmp_path}/web.sock") == (
                "another process answers there\nhint: stop it or choose another path"
            )

    def test_a_port_in_use_starts_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            loaded = config.load_text(TWO_POOLS.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
            with pytest.raises(BindError, match=f"cannot listen on 127.0.0.1:{port}"):
                Control.start(ConfigSource("text", None, lambda: loaded), loaded)


class TestRunTimeChanges:
    def test_drain_and_weight_and_policy_hold_over_a_reload(self, control: Control, path: Path) -> None:
        control.drain("127.0.0.2:9")
        control.weight("app/127.0.0.1:9", 7)
        control.policy("next", "random")
        path.write_text(TWO_POOLS.replace('"127.0.0.2:9"', '"127.0.0.2:9", "127.0.0.3:9"'))
        control.reload()
        assert endpoints(control)["127.0.0.2:9"][1] == "draining"
        assert endpoints(control)["127.0.0.1:9"][0] == 7
        assert len(endpoints(control)) == 3
        assert [pool["policy"] for pool in control.status()["pools"]] == ["least_request", "random"]

    def test_they_hold_while_what_they_change_is_away(self, control: Control, path: Path) -> None:
        without = TWO_POOLS.replace(', "127.0.0.2:9"', "")
        control.drain("127.0.0.2:9")
        control.weight("127.0.0.2:9", 7)
        path.write_text(without)
        control.reload()
        assert set(endpoints(control)) == {"127.0.0.1:9"}
        assert control.status()["overlay"]["drained"] == [
            {"pool": "app", "address": "127.0.0.2:9", "waiting": True}
        ]
        path.write_text(TWO_POOLS)
        control.reload()
        assert endpoints(control)["127.0.0.2:9"] == (7, "draining")
        path.write_text(without)
        control.reload()
        control.undrain("127.0.0.2:9")
        control.weight("app/127.0.0.2:9", None)
        assert control.status()["overlay"] == {"drained": [], "weights": [], "policies": []}
        with pytest.raises(UsageError, match="there is no endpoint"):
            control.drain("127.0.0.2:9")

    def test_the_policy_of_a_pool_that_is_away_holds_too(self, control: Control, path: Path) -> None:
        control.policy("next", "random")
        path.write_text(TWO_POOLS.partition("[pools.next]")[0])
        control.reload()
        path.write_text(TWO_POOLS)
        control.reload()
        assert [pool["policy"] for pool in control.status()["pools"]] == ["least_request", "random"]
        path.write_text(TWO_POOLS.partition("[pools.next]")[0])
        control.reload()
        control.policy("next", None)
        assert control.status()["overlay"]["policies"] == []

    def test_undoing_them_gives_the_file_back(self, control: Control) -> None:
        before = endpoints(control)
        control.drain("127.0.0.2:9")
        control.weight("127.0.0.2:9", 0)
        control.undrain("127.0.0.2:9")
        control.weight("127.0.0.2:9", None)
        assert endpoints(control) == before
        assert control.status()["overlay"] == {"drained": [], "weights": [], "policies": []}

    def test_an_endpoint_that_is_none_or_several_is_an_error(self, control: Control) -> None:
        with pytest.raises(
            UsageError, match=r"stands in several pools\nhint: say which: app/127.0.0.1:9 or next/"
        ):
            control.drain("127.0.0.1:9")
        with pytest.raises(
            UsageError, match=r'there is no endpoint "127.0.0.9:9"\nhint: the endpoints are app/127.0.0.1:9'
        ):
            control.drain("127.0.0.9:9")
        with pytest.raises(UsageError, match='there is no pool "ap"'):
            control.policy("ap", "random")
        with pytest.raises(UsageError, match='unknown policy "best"'):
            control.policy("app", "best")

    def test_each_is_logged_once_it_is_in_force(
        self, control: Control, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "steelyard.control")
        control.drain("127.0.0.2:9")
        control.undrain("127.0.0.2:9")
        control.weight("app/127.0.0.2:9", 2)
        control.policy("app", None)
        with pytest.raises(UsageError):
            control.drain("127.0.0.9:9")
        assert caplog.messages == [
            "127.0.0.2:9 is drained, as generation 2",
            "127.0.0.2:9 is drained no longer, as generation 3",
            "the weight of app/127.0.0.2:9 is 2, as generation 4",
            "the policy of app is that of the file, as generation 5",
        ]

    def test_every_spelling_of_an_address_is_the_endpoint(self, control: Control, path: Path) -> None:
        spellings = {
            "[0:0::1]:9": ("[::1]:9", "[::0001]:09", "app/[0:0:0:0:0:0:0:1]:9"),
            "LocalHost:7": ("localhost:7", "localhost.:7", "app/LOCALHOST:7"),
            "unix:/run/App.sock": ("unix:/run/App.sock", "app/unix:/run/App.sock"),
            "[::ffff:127.0.0.7]:9": ("127.0.0.7:9", "[::FFFF:127.0.0.7]:9"),
        }
        written = ", ".join(f'"{one}"' for one in spellings)
        path.write_text(TWO_POOLS.replace('"127.0.0.2:9"', written))
        control.reload()
        eventually(lambda: "localhost:7" in known_as(control), "the name is resolved")
        for in_the_file, others in spellings.items():
            for spelling in (in_the_file, *others):
                control.drain(spelling)
                (drained,) = control.overlay.drained
                (shown,) = {name for name, verdict in known_as(control).items() if verdict == "draining"}
                assert drained == ("app", shown), spelling
                control.undrain(shown)
                assert not control.overlay.drained, spelling

    def test_another_spelling_in_the_file_keeps_the_drain(self, control: Control, path: Path) -> None:
        path.write_text(TWO_POOLS.replace("127.0.0.2:9", "[0:0::1]:9"))
        control.reload()
        control.drain("[::1]:9")
        path.write_text(TWO_POOLS.replace("127.0.0.2:9", "[::1]:9"))
        control.reload()
        assert endpoints(control)["[::1]:9"][1] == "draining"

    def test_an_address_behind_a_name_is_refused_with_the_name(self, control: Control, path: Path) -> None:
        path.write_text(TWO_POOLS.replace("127.0.0.2:9", "localhost:7"))
        control.reload()

        def resolved() -> list[str]:
            return [address for address in endpoints(control) if address.endswith(":7")]

        eventually(resolved, "the name is resolved")
        with pytest.raises(UsageError, match="the whole name can be steered: app/localhost:7"):
            control.drain(resolved()[0])

    def test_a_weight_the_engine_refuses_leaves_the_old_one(self, control: Control) -> None:
        with pytest.raises(ConfigError):
            control.weight("127.0.0.2:9", 2**31)
        assert endpoints(control)["127.0.0.2:9"][0] == 1
        control.drain("127.0.0.2:9")


class TestReload:
    def test_a_mistake_leaves_the_old_configuration(self, control: Control, path: Path) -> None:
        generation = control.status()["generation"]
        path.write_text("listen = 1")
        with pytest.raises(ConfigError):
            control.reload()
        assert control.status()["generation"] == generation
        assert set(endpoints(control)) == {"127.0.0.1:9", "127.0.0.2:9"}

    def test_a_port_in_use_leaves_the_old_configuration(self, control: Control, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            path.write_text(TWO_POOLS + f'[listeners.two]\nbind = ["127.0.0.1:{port}"]\n')
            with pytest.raises(BindError):
                control.reload()
        assert [one["name"] for one in control.status()["listeners"]] == ["web"]

    @pytest.mark.parametrize("failure", [TypeError("a fault of ours"), MemoryError(), RecursionError()])
    def test_a_failure_nobody_foresaw_is_logged_and_leaves_the_old_configuration(
        self, path: Path, failure: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        def load() -> config.Config:
            raise failure

        loaded = config.load(path)
        control = Control.start(ConfigSource(str(path), path, load), loaded, seed=1)
        try:
            control.try_reload()
            assert control.status()["generation"] == 1
        finally:
            control.close()
        assert "the old configuration stays in force" in caplog.text
        assert type(failure).__name__ in caplog.text

    def test_who_is_told_of_a_reload_cannot_spoil_it(
        self, control: Control, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        told = []
        control.on_reload(lambda _: 1 / 0)
        control.on_reload(told.append)
        assert control.reload() == 2
        assert told == [control.config]
        assert "ZeroDivisionError" in caplog.text

    def test_what_needs_a_restart_is_said(self, control: Control, path: Path) -> None:
        assert control.notices() == []
        path.write_text(TWO_POOLS.replace('"error"', '"warning"') + '[admin]\nsocket = "off"\n')
        control.reload()
        assert control.status()["notices"] == [
            'admin.socket was "auto" at the start and is "off" now: the engine follows after a restart',
            'log.level was "error" at the start and is "warning" now: the engine follows after a restart',
        ]
        path.write_text(TWO_POOLS)
        control.reload()
        assert control.status()["notices"] == []

    def test_what_cannot_change_is_told_with_its_place(self, control: Control, path: Path) -> None:
        workers = control.status()["workers"] + 1
        path.write_text(f"# a comment\nworkers = {workers}\n{TWO_POOLS}")
        with pytest.raises(ConfigError) as caught:
            control.reload()
        assert str(caught.value).startswith(f"{path}:2:1: workers: the number of workers cannot change")

    def test_a_change_that_is_refused_names_the_key_as_the_file_would(self, control: Control) -> None:
        with pytest.raises(ConfigError, match=r"^what was asked for: pools.app.endpoints\[1\].weight: "):
            control.weight("127.0.0.2:9", 2**31)

    def test_none_is_taken_once_it_stops(self, control: Control) -> None:
        control.stop()
        assert control.wait(30) == "stopped"
        with pytest.raises(InstanceError, match="takes no more changes"):
            control.reload()

    def test_without_a_file_there_is_nothing_to_reload(self) -> None:
        loaded = config.load_text(TWO_POOLS)
        control = Control.start(ConfigSource("the command line", None, lambda: loaded), loaded)
        try:
            with pytest.raises(UsageError, match="there is no file to reload"):
                control.reload()
        finally:
            control.close()


class TestTheAdminApi:
    @pytest.fixture
    def api(self, control: Control, tmp_path: Path) -> Iterator[httpx.Client]:
        opened = AdminSocket(tmp_path / "admin.sock")
        server = AdminServer(control, opened)
        server.start()
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(opened.path)), base_url="http://steelyard"
        ) as client:
            yield client
        server.close()

    def test_answers_what_it_is_asked(self, api: httpx.Client, path: Path) -> None:
        assert api.get("/v1/status").json()["config"] == str(path)
        assert api.get("/v1/version").json()["version"] == _core.VERSION
        assert api.get("/v1/ready").json() == {"state": "running"}
        assert config.load_text(api.get("/v1/config").json()["toml"]) == config.load_text(TWO_POOLS)

    def test_changes_what_it_is_told(self, api: httpx.Client) -> None:
        answer = api.post("/v1/drain", json={"endpoint": "127.0.0.2:9"}).json()
        assert (answer["pool"], answer["address"]) == ("app", "127.0.0.2:9")
        assert api.get("/v1/status").json()["overlay"]["drained"] == [
            {"pool": "app", "address": "127.0.0.2:9", "waiting": False}
        ]
        assert api.post("/v1/undrain", json={"endpoint": "127.0.0.2:9"}).status_code == 200
        assert api.post("/v1/weight", json={"endpoint": "127.0.0.2:9", "weight": 4}).json()["weight"] == 4
        assert api.post("/v1/policy", json={"pool": "app", "policy": "random"}).json()["policy"] == "random"
        assert api.post("/v1/reload").json()["generation"] > 1

    @pytest.mark.parametrize(
        ("target", "body", "message"),
        [
            ("/v1/drain", {"endpoint": "x:1"}, 'there is no endpoint "x:1"'),
            ("/v1/drain", {"endpoint": "127.0.0.1:9"}, '"127.0.0.1:9" stands in several pools'),
            ("/v1/drain", {}, "endpoint: field required"),
            ("/v1/drain", {"endpoint": "x:1", "force": True}, "force: extra inputs are not permitted"),
            ("/v1/weight", {"endpoint": "x:1", "weight": "3"}, "weight: input should be a valid integer"),
            (
                "/v1/weight",
                {"endpoint": "x:1", "weight": -1},
                "weight: input should be greater than or equal to 0",
            ),
            ("/v1/policy", {"pool": "app", "policy": "p2x"}, 'unknown policy "p2x"'),
        ],
    )
    def test_refuses_with_a_word_why(
        self, api: httpx.Client, target: str, body: dict[str, object], message: str
    ) -> None:
        answer = api.post(target, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == message

    def test_a_broken_file_is_answered_422_with_the_place(self, api: httpx.Client, path: Path) -> None:
        path.write_text("listen = 1")
        answer = api.post("/v1/reload")
        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith(f"{path}:1:1: listen: ")

    def test_a_fault_of_ours_is_answered_as_json_too(
        self, api: httpx.Client, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> int:
            raise TypeError("nobody foresaw this")

        monkeypatch.setattr(control, "reload", fail)
        answer = api.post("/v1/reload")
        assert answer.status_code == 500
        assert answer.json()["error"] == {
            "message": "the instance failed: TypeError",
            "hint": "its log says where and why",
        }

    def test_an_address_in_use_is_no_mistake_in_the_file(self, api: httpx.Client, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            path.write_text(TWO_POOLS.replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
            answer = api.post("/v1/reload")
        assert answer.status_code == 409
        assert "address already in use" in answer.json()["error"]["message"]

    def test_closing_what_has_ended_by_itself_does_no_harm(self, control: Control, tmp_path: Path) -> None:
        server = AdminServer(control, AdminSocket(tmp_path / "other.sock"))
        server.start()
        eventually(lambda: server._server._sleeping, "it serves")
        server._server.end()
        server._thread.join()
        server.close()
        assert not (tmp_path / "other.sock").exists()

    def test_bodies_are_bounded(self, api: httpx.Client) -> None:
        answer = api.post("/v1/drain", content=json.dumps({"endpoint": "x" * 100_000}))
        assert answer.status_code == 413
        error = answer.json()["error"]
        assert "larger than 65536 bytes" in error["message"]
        assert error["hint"] is None

    def test_what_is_not_there_is_said_so(self, api: httpx.Client) -> None:
        assert api.get("/v1/nothing").json()["error"]["message"] == "GET /v1/nothing: not found"
        assert api.get("/v1/drain").status_code == 405


def test_an_engine_that_fails_is_a_failure_of_the_command(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failed:
        def wait(self, timeout_s: float) -> str:
            raise _core.EngineFailed("the engine has stopped for a fault of its own")

    monkeypatch.setattr(control, "_engine", Failed())
    with pytest.raises(EngineError) as failed:
        control.wait(1.0)
    assert failed.value.exit_code == 1
    monkeypatch.undo()
