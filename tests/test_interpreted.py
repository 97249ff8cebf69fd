"""Policies written in Python that are not compiled: what their scores become, and what can go wrong."""

import json
import logging
import math
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language import Origin, client, eventually, keep, origin
from steelyard import config, sim
from steelyard.control import ConfigSource, Control
from steelyard.errors import ConfigError
from steelyard.interpreted import weights_of

POLICY = '{ name = "mine:score", python_policy = "interpreted", refresh = "1s" }'


class TestScoresAsWeights:
    @pytest.mark.parametrize(
        ("scores", "weights"),
        [
            ([1.0, 2.0, 4.0], [1.0, 0.5, 0.25]),
            ([3.0, 3.0], [1.0, 1.0]),
            # By quotients, so that nothing changes when all are ten times as much.
            ([0.01, 0.02], [1.0, 0.5]),
            # With a best of 0 or below, by their distance from the best: 0 and 1 are 0.5 worse in the mean.
            ([0.0, 1.0], [1.0, 1 / 3]),
            ([-1.0, 0.0, 1.0], [1.0, 0.5, 1 / 3]),
            ([0.0, 0.0], [1.0, 1.0]),
            ([1.0, 1e9], [1.0, 0.01]),
            ([1.0, math.nan, math.inf, -math.inf, None], [1.0, 0.01, 0.01, 0.01, 0.01]),
            ([math.nan, None], None),
            ([], None),
        ],
    )
    def test_the_best_is_1_and_the_others_less(
        self, scores: list[float | None], weights: list[float] | None
    ) -> None:
        assert weights_of(scores) == (weights and pytest.approx(weights))

    @given(st.lists(st.none() | st.floats(), max_size=20))
    def test_whatever_the_scores_weights_are_bounded_and_in_their_order(
        self, scores: list[float | None]
    ) -> None:
        weights = weights_of(scores)
        if weights is None:
            assert not any(score is not None and math.isfinite(score) for score in scores)
            return
        assert max(weights) == 1
        assert min(weights) >= 0.01
        sound = sorted(
            (score, -weight) for score, weight in zip(scores, weights, strict=True) if is_sound(score)
        )
        assert [weight for _, weight in sound] == sorted(weight for _, weight in sound)


def is_sound(score: float | None) -> bool:
    return score is not None and math.isfinite(score)


class Instance:
    """A running proxy with its configuration, and the module beside it."""

    def __init__(self, folder: Path, servers: list[Origin], module: str) -> None:
        self.module = folder / "mine.py"
        self.path = folder / "steelyard.toml"
        self.servers = servers
        self.write(module)
        source = ConfigSource.file(self.path)
        self.control = Control.start(source, source.load(), seed=1)

    def write(self, module: str, policy: str = POLICY) -> None:
        self.module.write_text(textwrap.dedent(module))
        addresses = json.dumps([server.address for server in self.servers])
        self.path.write_text(
            f'listen = "127.0.0.1:0"\nendpoints = {addresses}\nhealth = "off"\npolicy = {policy}\n'
        )

    def reload(self, module: str, policy: str = POLICY) -> None:
        self.write(module, policy)
        self.control.reload()

    def listening(self, listener: str = "web") -> tuple[str, int]:
        host, _, port = self.control.status()["listeners"][0]["bind"][0].rpartition(":")
        return host, int(port)

    @property
    def pool(self) -> dict[str, Any]:
        pool: dict[str, Any] = self.control.status()["pools"][0]
        return pool

    def weights(self) -> list[float | None]:
        return [one["learned_weight"] and round(one["learned_weight"], 3) for one in self.pool["endpoints"]]

    def served(self, count: int) -> list[int]:
        """How many requests each of the servers answers."""
        one = client(self)
        counts = Counter(one.get("/").origin for _ in range(count))
        return [counts[server.name] for server in self.servers]

    def close(self) -> None:
        self.control.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def servers() -> list[Origin]:
    return [origin().start(), origin().start()]


def run(folder: Path, servers: list[Origin], module: str) -> Instance:
    return keep(Instance(folder, servers, module))


def by_port(server: Origin, better: str, other: str) -> str:
    """A score that only one that is not compiled can be: it reads who it is about."""
    return f"""\
def score(endpoint):
    return {better} if endpoint.address.endswith(":{server.port}") else {other}
"""


def test_traffic_follows_the_scores_and_a_reload_changes_them(folder: Path, servers: list[Origin]) -> None:
    running = run(folder, servers, by_port(servers[0], "1", "3"))
    eventually(lambda: running.weights() == [1.5, 0.5])
    assert running.served(400) == [300, 100]
    assert running.pool["policy"] == "mine:score"
    running.reload(by_port(servers[1], "1", "3"))
    eventually(lambda: running.weights() == [0.5, 1.5])
    assert running.served(400) == [100, 300]
    running.reload(by_port(servers[1], "1", "3"), '"weighted"')
    assert running.served(40) == [20, 20]
    assert running.pool["interpreted"] is None


def test_it_reads_what_the_proxy_has_seen(folder: Path) -> None:
    fast, slow = origin().start(), origin().slow(60).start()
    module = "def score(endpoint):\n    return max(endpoint.latency, 1e-3) / endpoint.weight\n"
    running = run(folder, [fast, slow], module)
    running.served(8)
    eventually(lambda: running.weights()[0] is not None and running.served(4)[0] > 0 and heavier(running))


def heavier(running: Instance) -> bool:
    first, second = running.weights()
    return first is not None and second is not None and first > 4 * second


def test_a_policy_of_run_time_takes_its_place_until_that_is_undone(
    folder: Path, servers: list[Origin]
) -> None:
    running = run(folder, servers, by_port(servers[0], "1", "3"))
    eventually(lambda: running.weights() == [1.5, 0.5])
    running.control.policy("app", "weighted")
    assert running.served(40) == [20, 20]
    assert running.pool["interpreted"] is None
    running.control.policy("app", None)
    eventually(lambda: running.weights() == [1.5, 0.5])


def test_an_exception_is_told_once_with_its_line_and_its_endpoint_is_the_worst(
    folder: Path, servers: list[Origin], caplog: pytest.LogCaptureFixture
) -> None:
    module = f"""\
    def score(endpoint):
        return 1 if endpoint.address.endswith(":{servers[0].port}") else look_up(endpoint)

    def look_up(endpoint):
        raise KeyError(endpoint.address)
    """
    with caplog.at_level(logging.ERROR, "steelyard.interpreted"):
        running = run(folder, servers, module)
        eventually(lambda: running.pool["interpreted"]["errors"] >= 2)
        eventually(lambda: running.weights() == [1.98, 0.02])
    (told,) = caplog.messages
    assert f"{running.module}:5: KeyError" in told
    assert f"for {servers[1].address}" in told
    assert running.pool["interpreted"]["last_error"].startswith(f"{running.module}:5: KeyError")
    assert running.served(200) == [198, 2]


@pytest.mark.parametrize("result", ["None", "'low'", "float('nan')", "exit()"])
def test_where_all_fail_the_configured_weights_stay(folder: Path, servers: list[Origin], result: str) -> None:
    running = run(folder, servers, f"def score(endpoint):\n    return {result}\n")
    eventually(lambda: running.pool["interpreted"]["rounds"] >= 1)
    assert running.weights() == [None, None]
    assert running.served(20) == [10, 10]


def test_a_stuck_function_stops_neither_traffic_nor_a_reload(folder: Path, servers: list[Origin]) -> None:
    stuck = folder / "stuck"
    waits = f"""\
    import time
    from pathlib import Path

    def score(endpoint):
        while Path({str(stuck)!r}).exists():
            time.sleep(0.01)
        return 1 if endpoint.address.endswith(":{servers[0].port}") else 3
    """
    running = run(folder, servers, waits)
    eventually(lambda: running.weights() == [1.5, 0.5])
    stuck.touch()
    rounds = running.pool["interpreted"]["rounds"]
    eventually(lambda: running.pool["interpreted"]["age_s"] > 2.5)
    assert running.pool["interpreted"]["rounds"] <= rounds + 1
    assert running.weights() == [1.5, 0.5]
    assert running.served(400) == [300, 100]
    running.reload(by_port(servers[1], "1", "3"))
    eventually(lambda: running.weights() == [0.5, 1.5])
    # What the stuck one comes to in the end is no longer wanted.
    stuck.unlink()
    before = running.pool["interpreted"]["rounds"]
    eventually(lambda: running.pool["interpreted"]["rounds"] >= before + 2)
    assert running.weights() == [0.5, 1.5]


def test_a_reload_without_a_change_lets_the_function_go_on(folder: Path, servers: list[Origin]) -> None:
    running = run(folder, servers, by_port(servers[0], "1", "3"))
    eventually(lambda: running.pool["interpreted"]["rounds"] >= 2)
    running.control.reload()
    assert running.pool["interpreted"]["rounds"] >= 2
    assert running.weights() == [1.5, 0.5]


def test_a_weight_of_0_stays_0(folder: Path, servers: list[Origin]) -> None:
    running = run(folder, servers, by_port(servers[0], "1", "3"))
    running.control.weight(servers[0].address, 0)
    assert running.served(10) == [0, 10]
    running.control.weight(servers[0].address, None)
    eventually(lambda: running.weights() == [1.5, 0.5])


class TestTheConfiguration:
    def refusal(self, folder: Path, policy: str) -> str:
        (folder / "mine.py").write_text("def score(endpoint):\n    return 1.0\n")
        text = f'listen = "127.0.0.1:0"\nendpoints = ["127.0.0.1:9"]\npolicy = {policy}\n'
        (folder / "steelyard.toml").write_text(text)
        with pytest.raises(ConfigError) as refused:
            config.load(folder / "steelyard.toml")
        (problem,) = refused.value.problems
        assert problem.line == 3
        return str(problem).partition("steelyard.toml:")[2]

    @pytest.mark.parametrize(
        ("policy", "told"),
        [
            ('{ name = "mine:score", python_policy = "numba" }', 'hint: one of "compiled", "interpreted"'),
            ('{ name = "mine:score", refresh = "5s" }', "only an interpreted policy is refreshed"),
            (POLICY.replace('"1s"', '"500ms"'), "weights change once a second at the most"),
            (POLICY.replace('refresh = "1s"', "choices = 2"), 'an interpreted policy has no "choices"'),
            ('{ name = "p2c", python_policy = "interpreted" }', "p2c is not written in Python"),
            (POLICY.replace("mine:score", "mine:other"), 'has no function "other"'),
        ],
    )
    def test_what_does_not_fit_is_refused(self, folder: Path, policy: str, told: str) -> None:
        assert told in self.refusal(folder, policy)

    def test_it_is_written_back_as_it_was(self, folder: Path) -> None:
        (folder / "mine.py").write_text("def score(endpoint):\n    return open('/dev/null')\n")
        text = f'listen = "127.0.0.1:0"\nendpoints = ["127.0.0.1:9"]\npolicy = {POLICY}\n'
        path = folder / "steelyard.toml"
        path.write_text(text)
        written = config.show(config.load(path))
        assert 'python_policy = "interpreted"' in written
        path.write_text(written)
        assert config.show(config.load(path)) == written

    def test_it_needs_no_compiler(self, folder: Path) -> None:
        (folder / "mine.py").write_text("def score(endpoint):\n    return 1.0\n")
        script = "import sys; sys.modules['numba'] = None; from steelyard.cli import main; main()"
        for policy, code, told in ((POLICY, 0, ""), ('"mine:score"', 2, 'python_policy = "interpreted"')):
            text = f'listen = "127.0.0.1:0"\nendpoints = ["127.0.0.1:9"]\npolicy = {policy}\n'
            (folder / "steelyard.toml").write_text(text)
            command = [sys.executable, "-c", script, "check", str(folder / "steelyard.toml")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stderr
            assert told in done.stderr

    def test_a_simulation_refuses_it(self, folder: Path) -> None:
        (folder / "mine.py").write_text("def score(endpoint):\n    return 1.0\n")
        path = folder / "s.toml"
        path.write_text(
            f"policies = [{POLICY}]\nendpoints = [{{ count = 2 }}]\n"
            'arrivals = { kind = "poisson", rate = 2.0 }\nservice = { kind = "exponential", mean = "1s" }\n'
        )
        with pytest.raises(ConfigError, match="no time passes for an interpreted policy"):
            sim.load(path)
