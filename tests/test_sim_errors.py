"""Every mistake in a scenario is told with its place, its key, the reason and often a hint."""

from pathlib import Path

import pytest

from language.scenarios import GOOD, with_policies
from steelyard import sim
from steelyard.config.source import read_text
from steelyard.errors import ConfigError
from steelyard.sim.document import prepare
from steelyard.sim.load import checked
from steelyard.sim.scenario import Scenario


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        sim.load_text(text, "s.toml")
    return [str(problem) for problem in caught.value.problems]


def with_arrivals(written: str) -> str:
    return GOOD.replace('{ kind = "poisson", rate = 2.0 }', written)


def with_service(written: str) -> str:
    return GOOD.replace('{ kind = "exponential", mean = "1s" }', written)


def fault(written: str) -> str:
    return f"{GOOD}[[faults]]\n{written}\n"


ONE_MISTAKE = [
    # unknown keys, and the key that was meant
    (GOOD + "sead = 7", 's.toml:5:1: sead: unknown key\nhint: did you mean "seed"?'),
    (
        GOOD + "information_dealy = '1s'",
        's.toml:5:1: information_dealy: unknown key\nhint: did you mean "information_delay"?',
    ),
    (
        GOOD.replace("speed", "sped"),
        's.toml:2:46: endpoints[1].sped: unknown key\nhint: did you mean "speed"?',
    ),
    (
        with_arrivals('{ kind = "on_off", rate_on = 9.0, rate_of = 1.0, on = "1s", off = "1s" }'),
        's.toml:3:46: arrivals.rate_of: unknown key\nhint: did you mean "rate_off"?',
    ),
    (
        with_arrivals('{ kind = "poisson", rate = 2.0, zzz = 1 }'),
        "s.toml:3:44: arrivals.zzz: unknown key\nhint: known here: kind, rate",
    ),
    (
        GOOD + "[threshold]\nreqests = 1",
        's.toml:6:1: threshold.reqests: unknown key\nhint: did you mean "requests"?',
    ),
    (
        GOOD + "[queue]\nseed = 3",
        "s.toml:6:1: queue.seed: a top-level key that has slipped under a table\n"
        "hint: move it to the top of the file, above the first [table]",
    ),
    # what is missing
    (
        with_arrivals('{ kind = "poisson" }'),
        "s.toml:3:1: arrivals.rate: this key is missing",
    ),
    (
        with_arrivals("{ rate = 2.0 }"),
        's.toml:3:1: arrivals.kind: this key is missing\nhint: one of "poisson", "deterministic", "on_off", '
        '"profile", "trace"',
    ),
    (
        GOOD.replace('policies = ["random", "least_request"]\n', ""),
        "s.toml: policies: this key is missing\n"
        'hint: for instance policies = ["round_robin", "least_request"]',
    ),
    (
        GOOD + '[faults]\nat = "1s"',
        "s.toml:5:2: faults: expected a list, found a table\nhint: write [[faults]] above each",
    ),
    (
        GOOD.replace("[{ count = 2 }, ", '["127.0.0.1:80", '),
        's.toml:2:14: endpoints[0]: expected a table, found "127.0.0.1:80"\n'
        "hint: for instance endpoints = [{ count = 10, concurrency = 4 }]",
    ),
    (
        with_arrivals("2.0"),
        "s.toml:3:1: arrivals: expected a table, found the number 2.0\n"
        'hint: for instance arrivals = { kind = "poisson", rate = 100.0 }',
    ),
    (
        'listen = ":80"\nendpoints = ["127.0.0.1:9001"]\nhealth = "/"\n',
        "s.toml: this is a configuration, no scenario\n"
        "hint: steelyard check reads it; examples/scenarios has some to begin with",
    ),
    # kinds and policies that do not exist
    (
        with_arrivals('{ kind = "poison", rate = 2.0 }'),
        's.toml:3:14: arrivals.kind: unknown kind "poison"\nhint: did you mean "poisson"?',
    ),
    (
        with_service('{ kind = "normal", mean = "1s" }'),
        's.toml:4:13: service.kind: unknown kind "normal"\nhint: did you mean "lognormal"?',
    ),
    (
        with_policies('["random", "round_robbin"]'),
        's.toml:1:23: policies[1]: unknown policy "round_robbin"\nhint: did you mean "round_robin"?',
    ),
    (
        with_policies('"random"'),
        's.toml:1:1: policies: expected a list\nhint: write ["random"]',
    ),
    (
        with_policies('["random", "random"]'),
        's.toml:1:23: policies[1]: "random" is compared with itself\nhint: take it out',
    ),
    (with_policies("[]"), "s.toml:1:1: policies: expected at least one"),
    # numbers and times
    (
        with_arrivals('{ kind = "poisson", rate = -2.0 }'),
        "s.toml:3:32: arrivals.rate: -2.0 is no rate\nhint: a number above 0, at most 1e+09",
    ),
    (
        with_arrivals('{ kind = "poisson", rate = 1e-7 }') + "requests = 100_000",
        "s.toml:3:1: arrivals: 100000 requests at this rate take 3.17e+04 years of virtual time\n"
        "hint: at most 100: fewer requests, or a higher rate",
    ),
    (
        with_arrivals('{ kind = "poisson", rate = inf }'),
        "s.toml:3:32: arrivals.rate: inf is no rate\nhint: a number above 0, at most 1e+09",
    ),
    (
        with_service('{ kind = "constant", mean = 1 }'),
        's.toml:4:32: service.mean: 1 has no unit\nhint: write "1s" for seconds or "1ms" for milliseconds',
    ),
    (
        with_service('{ kind = "constant", mean = nan }'),
        's.toml:4:32: service.mean: nan is no number\nhint: write a number with its unit, such as "5s"',
    ),
    (
        with_service('{ kind = "constant", mean = "0s" }'),
        's.toml:4:32: service.mean: "0s" is too short here\nhint: write a time above 0',
    ),
    (
        with_policies('["random", { name = "bounded_hash", key = "path", balance = nan }]'),
        "s.toml:1:62: policies[1].balance: nan is no number",
    ),
    (
        with_service('{ kind = "constant", mean = "1 sec" }'),
        's.toml:4:32: service.mean: "sec" is no unit of time\nhint: the units are us, µs, ms, s, m, h, d',
    ),
    (
        with_service('{ kind = "exponential", mean = "1s", c2 = 4.0 }'),
        's.toml:4:48: service.c2: the squared coefficient of variation of "exponential" is 1\n'
        'hint: leave it out, or take kind = "lognormal" or "hyperexponential"',
    ),
    (
        with_service('{ kind = "hyperexponential", mean = "1s", c2 = 0.5 }'),
        's.toml:4:53: service.c2: a "hyperexponential" time varies more than an exponential one, so 0.5 '
        'is no c2 of it\nhint: write 1 or more, or take kind = "lognormal"',
    ),
    (
        with_service('{ kind = "pareto", mean = "1s", alpha = 1.5, bound = "500ms" }'),
        "s.toml:4:1: service: no request takes longer than 0.5s, so the mean cannot be 1.0s\n"
        "hint: bound is far above mean, a hundred times for instance",
    ),
    (
        with_arrivals('{ kind = "profile", points = [["0s", 1.0], ["9s", 2.0], ["5s", 1.0]] }'),
        "s.toml:3:32: arrivals.points: the point at 5.0s follows the one at 9.0s\n"
        "hint: points stand in the order of their times",
    ),
    (
        with_arrivals('{ kind = "profile", points = [["0s", 1.0], [9.0, 2.0]] }'),
        "s.toml:3:55: arrivals.points[1]: 9.0 has no unit\n"
        'hint: write "9.0s" for seconds or "9.0ms" for milliseconds',
    ),
    (
        GOOD + "warmup = 1.0",
        "s.toml:5:1: warmup: expected a share\nhint: from 0 to below 1, for instance 0.1",
    ),
    (GOOD + "replications = 0", "s.toml:5:1: replications: this is at least 1"),
    (GOOD + "seed = -1", "s.toml:5:1: seed: -1 is out of range\nhint: at least 0"),
    (
        GOOD + "requests = 100\nduration = '5s'",
        's.toml:6:1: duration: "requests" says already how long a replication is\nhint: keep one of them',
    ),
    (
        GOOD + "load = 'bytes'",
        's.toml:5:1: load: requests of a simulation have no bytes\nhint: compare "requests" or "latency"',
    ),
    (
        GOOD + "[threshold]\nbytes_per_second = '1M'",
        "s.toml:6:1: threshold.bytes_per_second: requests of a simulation have no bytes\n"
        "hint: a threshold on requests or latency can be tried",
    ),
    # endpoints
    (
        GOOD.replace("{ count = 2 }", "{ count = 10_000 }"),
        "s.toml:2:1: endpoints: there are 10001 endpoints\nhint: at most 10000",
    ),
    (
        GOOD.replace("{ count = 2 }", '{ name = "slow" }'),
        's.toml:2:35: endpoints[1].name: "slow" is the name of another group\nhint: each group has its own',
    ),
    (
        GOOD.replace("{ count = 2 }", '{ name = "a", count = 2 }').replace('"slow"', '"a-0"'),
        's.toml:2:43: endpoints[1].name: "a-0" is the name of an endpoint of another group\n'
        "hint: the endpoints of a group are numbered: a-0, a-1 and so on",
    ),
    (
        GOOD.replace("count = 2", "weight = 0").replace("speed = 0.5", "weight = 0"),
        "s.toml:2:1: endpoints: every endpoint has weight 0, so that none takes a request\nhint: weight = 1",
    ),
    # faults
    (
        fault('at = "1s"\nendpoint = 3\nkind = "stop"'),
        "s.toml:7:1: faults[0].endpoint: there is no endpoint 3\nhint: they are numbered from 0 to 2",
    ),
    (
        fault('at = "1s"\nendpoint = "slwo"\nkind = "stop"'),
        's.toml:7:1: faults[0].endpoint: there is no endpoint "slwo"\nhint: did you mean "slow"?',
    ),
    (
        fault('at = "1s"\nendpoint = 0\nkind = "fail-fast"'),
        's.toml:8:1: faults[0].kind: unknown kind of fault "fail-fast"\nhint: did you mean "fail_fast"?',
    ),
    (
        fault('at = "2s"\nendpoint = 0\nkind = "stop"\nuntil = "1s"'),
        "s.toml:9:1: faults[0].until: 1.0s is not after the beginning at 2.0s\n"
        "hint: both are counted from the beginning of the run",
    ),
    (
        fault('at = "1s"\nendpoint = 0\nkind = "slow"'),
        "s.toml:5:1: faults[0].factor: this key is missing\n"
        "hint: how many times slower, for instance factor = 10.0",
    ),
    (
        fault('at = "1s"\nendpoint = 0\nkind = "stop"\nfactor = 2.0'),
        's.toml:9:1: faults[0].factor: "stop" has no factor\nhint: only kind = "slow" has one',
    ),
    (
        fault('at = "1s"\nendpoint = 0\nkind = "add"\nuntil = "2s"'),
        "s.toml:9:1: faults[0].until: an endpoint that was added stays\n"
        'hint: a later kind = "stop" takes it away',
    ),
    (
        fault('at = "1s"\nendpoint = 0\nkind = "hang"'),
        "s.toml:8:1: faults[0].kind: requests to an endpoint that hangs would never end\n"
        'hint: give it until = "...", or write [timeouts] with response = "30s"',
    ),
    (
        fault('at = "1s"\nendpoint = 0\nkind = "stop"\n[[faults]]\nat = "5s"\nendpoint = 0\nkind = "stop"'),
        "s.toml:10:1: faults[1].at: endpoint-0 still has the fault that began at 1.0s\n"
        'hint: end that one before: until = "..."',
    ),
    (
        "duration = '9s'\n" + fault('at = "10s"\nendpoint = 0\nkind = "stop"'),
        "s.toml:7:1: faults[0].at: the run ends at 9.0s, before this happens\n"
        "hint: duration is how long a replication lasts",
    ),
]


@pytest.mark.parametrize(("text", "expected"), ONE_MISTAKE)
def test_one_mistake_is_told_once_with_place_key_reason_and_hint(text: str, expected: str) -> None:
    assert told(text) == [expected]


def test_several_mistakes_are_told_in_the_order_of_the_file() -> None:
    text = with_policies('["random", "lest_request"]').replace("count = 2", "count = 0")
    text += '[[faults]]\nat = "1s"\nendpoint = 9\nkind = "stop"\n'
    assert [line.split(": ")[1] for line in told(text)] == ["policies[1]", "endpoints[0].count"]


def test_what_is_sound_is_checked_beside_what_is_not() -> None:
    text = "sead = 3\n" + fault('at = "1s"\nendpoint = 9\nkind = "stop"')
    assert [line.split(": ")[1] for line in told(text)] == ["sead", "faults[0].endpoint"]


@pytest.fixture
def scenario_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("s.toml")


def simulated(path: Path, text: str) -> sim.Result:
    path.write_text("requests = 200\nreplications = 1\n" + text, encoding="utf-8")
    return sim.simulate(path)


def refused_by_the_engine(path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        simulated(path, text)
    return str(caught.value)


def test_load_that_grows_without_bound_is_refused(scenario_file: Path) -> None:
    text = refused_by_the_engine(scenario_file, with_arrivals('{ kind = "poisson", rate = 2.5 }'))
    assert text.startswith("s.toml:5:32: arrivals.rate: 2.5")
    assert "requests a second come and the endpoints can serve" in text
    assert "\nhint: lower the rate" in text


def test_load_is_judged_by_what_it_is_in_the_long_run(scenario_file: Path) -> None:
    bursts = '{ kind = "on_off", rate_on = 9.0, rate_off = 1.0, on = "1s", off = "3s" }'
    assert "arrivals.rate_on: 3" in refused_by_the_engine(scenario_file, with_arrivals(bursts))
    growth = '{ kind = "profile", points = [["0s", 1.0], ["10s", 6.0]] }'
    assert "arrivals.points" in refused_by_the_engine(scenario_file, with_arrivals(growth))


@pytest.mark.parametrize(
    "bound",
    [
        GOOD.replace("count = 2", "count = 2, waiting_room = 5").replace("speed", "waiting_room = 0, speed"),
        GOOD + "[threshold]\nrequests = 1\n",
    ],
)
def test_too_much_load_is_only_warned_about_where_waiting_is_bounded(bound: str, scenario_file: Path) -> None:
    result = simulated(scenario_file, bound.replace("rate = 2.0", "rate = 5.0"))
    assert any("requests a second come" in one for one in result.warnings)
    assert result.policies[0].errors > 0


def test_a_fault_that_the_run_will_not_reach_is_warned_about() -> None:
    source = read_text("requests = 100\n" + fault('at = "60s"\nendpoint = 0\nkind = "stop"'), "s.toml")
    assert prepare(checked(source), source, Path()).notices == (
        "a replication takes about 50 s of virtual time, so the fault at 60 s comes too late to be seen",
    )


def test_the_scenario_of_the_manual_is_accepted() -> None:
    text = """
        seed = 7
        requests = 400_000
        warmup = 0.1
        replications = 8
        balancers = 1
        information_delay = "0s"
        policies = ["random", "round_robin", "least_request"]
        [[endpoints]]
        count = 10
        speed = 1.0
        concurrency = 1
        weight = 1
        [arrivals]
        kind = "poisson"
        rate = 9.0
        [service]
        kind = "exponential"
        mean = "1s"
        c2 = 1.0
        [[faults]]
        at = "100s"
        endpoint = 3
        kind = "slow"
        factor = 10.0
        until = "200s"
    """
    assert sim.load_text(text).faults[0].until == 200.0


def test_what_is_written_out_is_read_back_as_the_same() -> None:
    text = "information_delay = '250us'\n" + fault('at = "1m"\nendpoint = [0, "slow"]\nkind = "stop"')
    loaded = sim.load_text(text + "[timeouts]\nresponse = '5s'\n")
    assert Scenario.model_validate(loaded.model_dump(mode="json", exclude_none=True)) == loaded


def test_a_setting_that_is_wrong_is_not_missing_as_well() -> None:
    (problem,) = told(fault('at = "1s"\nendpoint = 0\nkind = "slow"\nfactor = 0'))
    assert problem.startswith("s.toml:9:1: faults[0].factor: 0 is no factor")


def test_half_the_name_of_a_score_is_told_as_that() -> None:
    (problem,) = told(with_policies('["x:"]'))
    assert 'policies[0]: "x:" names no policy\nhint: one written in Python is "module:function"' in problem


def test_a_setting_without_a_value_is_told_as_that() -> None:
    (problem,) = told(with_policies('["random", "ring_hash:key"]'))
    assert problem == (
        's.toml:1:23: policies[1]: "ring_hash:key" names no policy\n'
        'hint: ring_hash takes settings so: { name = "ring_hash", key = ... }'
    )


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ('duration = "1us"', "nothing arrived after the first 10% of the run, the warmup, under random"),
        (
            'requests = 200\n[[faults]]\nat = "0s"\nendpoint = [0, 1, 2]\nkind = "fail_fast"',
            "every request failed under random",
        ),
    ],
)
def test_a_run_that_measures_nothing_says_so(more: str, warning: str) -> None:
    result = sim.simulate(sim.load_text(f"{GOOD}{more}"))
    assert any(one.startswith(warning) for one in result.warnings)
