"""Every mistake in a configuration is told with its place, its key, the reason and often a hint."""

from pathlib import Path

import pytest

from steelyard import config
from steelyard.errors import ConfigError, UsageError

LONG = """\
[listeners.web]
bind = [":8080"]
pool = "app"
[pools.app]
endpoints = ["10.0.0.1:80"]
"""
SHORT = 'listen = ":8080"\nendpoints = ["10.0.0.1:80"]\n'


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load_text(text, "f.toml")
    return [str(problem) for problem in caught.value.problems]


ONE_MISTAKE = [
    # unknown keys, and the key that was meant
    (
        SHORT + 'load = "latency"',
        "f.toml:3:1: load: this key belongs to a pool\n"
        "hint: the short form has none: write [pools.app] with load in it",
    ),
    (SHORT + "lisen = 1", 'f.toml:3:1: lisen: unknown key\nhint: did you mean "listen"?'),
    (
        LONG + "helth.path = '/'",
        'f.toml:6:1: pools.app.helth: unknown key\nhint: did you mean "health"?',
    ),
    (
        LONG + "queue.zzz = 1",
        "f.toml:6:7: pools.app.queue.zzz: unknown key\nhint: known here: size, timeout",
    ),
    (
        LONG.replace('["10.0.0.1:80"]', '[{ adress = "10.0.0.1:80" }]'),
        'f.toml:5:16: pools.app.endpoints[0].adress: unknown key\nhint: did you mean "address"?',
    ),
    # a key that slipped under a table
    (
        SHORT + '[admin]\ndrain_timeout = "5s"',
        "f.toml:4:1: admin.drain_timeout: a top-level key that has slipped under a table\n"
        "hint: move it to the top of the file, above the first [table]",
    ),
    (
        LONG + '[pools.app.health]\nendpoints = ["10.0.0.2:80"]',
        "f.toml:7:1: pools.app.health.endpoints: this key belongs to [pools.app]\n"
        "hint: move it under [pools.app], above its first [pools.app.…]",
    ),
    # wrong types
    (
        SHORT + "[log]\nlevel = 3",
        'f.toml:4:1: log.level: expected a level\nhint: one of "debug", "info", "warning", "error"',
    ),
    (LONG + "fail_open = 'yes'", 'f.toml:6:1: pools.app.fail_open: expected true or false, found "yes"'),
    (
        'listen = ":8080"\nendpoints = "10.0.0.1:80"',
        'f.toml:2:1: endpoints: expected a list\nhint: write ["10.0.0.1:80"]',
    ),
    (
        LONG + 'health = "/healthz"',
        'f.toml:6:1: pools.app.health: expected a table\nhint: write { path = "/healthz" }',
    ),
    ("listeners = 3", "f.toml:1:1: listeners: expected a table, found the number 3"),
    # durations, sizes, counts and "off"
    (
        LONG + "timeouts.connect = 2",
        "f.toml:6:10: pools.app.timeouts.connect: 2 has no unit\n"
        'hint: write "2s" for seconds or "2ms" for milliseconds',
    ),
    (
        LONG + "timeouts.connect = 0",
        'f.toml:6:10: pools.app.timeouts.connect: 0 is no duration\nhint: write "off" to turn it off',
    ),
    (
        LONG + 'timeouts.connect = "0s"',
        'f.toml:6:10: pools.app.timeouts.connect: 0 is no duration\nhint: write "off" to turn it off',
    ),
    (
        LONG + 'timeouts.connect = "2 weeks"',
        'f.toml:6:10: pools.app.timeouts.connect: "weeks" is no unit of time\n'
        "hint: the units are ms, s, m, h, d",
    ),
    (
        LONG + "threshold.requests = 0",
        'f.toml:6:11: pools.app.threshold.requests: 0 is no limit\nhint: write "off" to turn it off',
    ),
    (
        LONG + 'threshold.bytes_per_second = "50MB"',
        'f.toml:6:11: pools.app.threshold.bytes_per_second: "MB" is no unit of size\n'
        'hint: did you mean "50M"?',
    ),
    (
        LONG + "retry.attempts = 0",
        "f.toml:6:7: pools.app.retry.attempts: this is at least 1",
    ),
    (
        'drain_timeout = "off"\n' + SHORT,
        "f.toml:1:1: drain_timeout: this cannot be off\n"
        'hint: a duration is a number with its unit: "500ms", "10s", "5m", "1h"',
    ),
    (
        LONG + "retry.budget = nan",
        "f.toml:6:7: pools.app.retry.budget: nan is no number of retries per request\nhint: for instance 0.2",
    ),
    (
        LONG + "retry.budget = inf",
        "f.toml:6:7: pools.app.retry.budget: inf is no number of retries per request\nhint: for instance 0.2",
    ),
    (
        LONG.replace('["10.0.0.1:80"]', '["10.0.0.1:80", 2]'),
        "f.toml:5:29: pools.app.endpoints[1]: expected an address or a table\n"
        'hint: for instance "127.0.0.1:9001"',
    ),
    (
        SHORT + "policy = 3",
        'f.toml:3:1: policy: expected the name of a policy or a table\nhint: for instance "round_robin"',
    ),
    (
        LONG + 'health.expect_status = "200"',
        'f.toml:6:8: pools.app.health.expect_status: expected a list, found "200"\nhint: write ["200"]',
    ),
    # the words of other load balancers
    (
        LONG.replace("endpoints", "servers"),
        'f.toml:5:1: pools.app.servers: unknown key\nhint: did you mean "endpoints"?',
    ),
    (SHORT + "[upstream.app]", 'f.toml:3:2: upstream: unknown key\nhint: did you mean "pools"?'),
    (
        SHORT + 'policy = "leastconn"',
        'f.toml:3:1: policy: unknown policy "leastconn"\nhint: did you mean "least_request"?',
    ),
    (
        "upstream app { server a:1; }",
        "f.toml:1:10: this is no TOML\n"
        "hint: a line is key = value or [table]; steelyard init writes a file to begin with",
    ),
    # words that are near another
    (
        SHORT + 'policy = "round_robbin"',
        'f.toml:3:1: policy: unknown policy "round_robbin"\nhint: did you mean "round_robin"?',
    ),
    (
        SHORT + 'policy = "Round-Robin"',
        'f.toml:3:1: policy: unknown policy "Round-Robin"\nhint: did you mean "round_robin"?',
    ),
    (
        LONG + 'retry.on = ["connect", "5x"]',
        'f.toml:6:24: pools.app.retry.on[1]: unknown cause of a retry "5x"\nhint: did you mean "5xx"?',
    ),
    # what refers to nothing, or to the same thing twice
    (
        LONG.replace('pool = "app"', 'pool = "ap"'),
        'f.toml:3:1: listeners.web.pool: there is no pool "ap"\nhint: did you mean "app"?',
    ),
    (
        LONG + '[[routes]]\npool = "ap"',
        'f.toml:7:1: routes[0].pool: there is no pool "ap"\nhint: did you mean "app"?',
    ),
    (
        LONG + '[listeners.two]\nbind = ["0.0.0.0:8080"]',
        "f.toml:7:9: listeners.two.bind[0]: 0.0.0.0:8080 conflicts with :8080 of web\n"
        "hint: two listeners cannot share an address",
    ),
    (
        LONG.replace('["10.0.0.1:80"]', "[]"),
        'f.toml:5:1: pools.app.endpoints: the pool has no endpoints\nhint: for instance ["127.0.0.1:9001"]',
    ),
    # addresses
    (
        SHORT.replace("10.0.0.1:80", "10.0.0.1"),
        'f.toml:2:14: endpoints[0]: "10.0.0.1" has no port\nhint: write "10.0.0.1:8080"',
    ),
    (SHORT.replace(":8080", "8080"), 'f.toml:1:1: listen: "8080" has no port\nhint: write ":8080"'),
    # the two forms
    (
        'listen = ":8080"\nhealth = "/h"\n[pools.app]\nendpoints = ["10.0.0.1:80"]',
        "f.toml:1:1: listen: the short form does not go with [pools]\n"
        "hint: write the long form instead of listen, health:\n\n"
        '[listeners.web]\nbind = [":8080"]\npool = "app"\n\n[pools.app]\n\n[pools.app.health]\npath = "/h"',
    ),
    (
        'listen = ":8080"',
        'f.toml:1:1: listen: "endpoints" is missing beside it\n'
        'hint: for instance endpoints = ["127.0.0.1:9001"]',
    ),
    (
        "",
        "f.toml: there is no listener, so nothing would be accepted\nhint: the smallest configuration is\n\n"
        'listen = ":8080"\nendpoints = ["127.0.0.1:9001"]',
    ),
    # routes
    (
        LONG + "[[routes]]\npath = '/x'",
        "f.toml:6:1: routes[0]: the route does nothing\n"
        'hint: give it one of: pool = "app", split, redirect, respond',
    ),
    (
        LONG + "[[routes]]\npool = 'app'\nrespond = 404",
        "f.toml:6:1: routes[0]: the route has pool and respond\nhint: one of them is all a route can do",
    ),
    (
        LONG + "[[routes]]\npool = 'app'\nheaders = { X-A = '1', x-a = '2' }",
        'f.toml:8:1: routes[0].headers: "x-a" is the same field as "X-A"\n'
        "hint: keep one of them: the case is no matter",
    ),
    (
        LONG + "[[routes]]\npool = 'app'\nset_headers = { X-A = '1', x-a = '2' }",
        'f.toml:8:1: routes[0].set_headers: "x-a" is the same field as "X-A"\n'
        "hint: keep one of them: the case is no matter",
    ),
    (
        LONG + "[[routes]]\npool = 'app'\nset_headers = { X_Real_IP = '1', x_own = '2' }",
        'f.toml:8:1: routes[0].set_headers: "X_Real_IP" would never be sent: '
        'much software reads it as "X-Real-IP"\n'
        'hint: write "X-Real-IP" if that is meant, or choose another name',
    ),
    (
        LONG.replace('pool = "app"', "limits.connections = 'off'"),
        "f.toml:3:8: listeners.web.limits.connections: connections are never without a bound\n"
        'hint: "auto" is as many as the descriptors allow',
    ),
    # no TOML
    ("a = 1\na = 2", 'f.toml:2:1: "a" is here for the second time\nhint: keep one of them'),
    ("listen = :8080", 'f.toml:1:10: this is no TOML value\nhint: text stands in quotes: ":8080"'),
    ("listen =", "f.toml:1:9: a value is missing\nhint: write it after the ="),
]


@pytest.mark.parametrize(("text", "message"), ONE_MISTAKE, ids=range(len(ONE_MISTAKE)))
def test_one_mistake_is_told_once(text: str, message: str) -> None:
    assert told(text) == [message]


LATER = [
    ('listeners.web.protocol = "udp"', "listeners.web.protocol"),
    ("listeners.web.proxy_protocol = true", "listeners.web.proxy_protocol"),
    ("access_log = {}", "access_log"),
    ('admin.listen = "127.0.0.1:9900"', "admin.listen"),
    ('admin.token_file = "token"', "admin.token_file"),
]
DOTTED = """\
listeners.web.bind = [":8080"]
listeners.web.pool = "app"
pools.app.endpoints = ["10.0.0.1:80"]
"""


@pytest.mark.parametrize(("line", "key"), LATER)
def test_what_is_not_there_yet_is_refused_and_not_ignored(line: str, key: str) -> None:
    (problem,) = told(DOTTED + line)
    assert f"{key}: " in problem.splitlines()[0]
    assert problem.splitlines()[0].endswith("is not there yet")


WRONG_NUMBERS = [
    ("slow_start = 30", "30 has no unit"),
    ('slow_start = "0s"', "0 is no duration"),
    ("slow_start = { aggression = 2 }", "window"),
    ('slow_start = { window = "30s", aggression = 0 }', "0 is no aggression"),
    ('slow_start = { window = "30s", min_weight = 1.5 }', "1.5 is no part of a weight"),
    ("panic_threshold = 0", "0 is no threshold"),
    ("panic_threshold = 101", "101 is no percentage"),
    ('panic_threshold = "on"', "expected a percentage"),
    ("subset = { size = 20, instance = 12, instances = 12 }", "there is no instance 12 of 12"),
    ("subset = { size = 0, instance = 0, instances = 12 }", "this is at least 1"),
    ("subset = { size = 20, instances = 12 }", "instance"),
    ('reported = "wait"', 'unknown use of a report "wait"'),
    ("reported = 3", "expected a use of reports or a table"),
    ("reported = {}", 'write as = "weight" or as = "load"'),
    ('reported = { as = "weight", metric = "speed" }', 'reports have no metric "speed"'),
    ('reported = { as = "weight", metric = "named_metrics." }', "reports have no metric"),
    ('reported = { as = "weight", header = "a b" }', '"a b" is no name for a field'),
    ('reported = { as = "weight", error_penalty = -1 }', "-1 is out of range"),
    ('reported = { as = "weight", expiration = "off" }', "this cannot be off"),
    ('reported = { as = "weight", zzz = 1 }', "known here: as, metric, header, expiration"),
]


@pytest.mark.parametrize(("line", "message"), WRONG_NUMBERS)
def test_what_spreads_the_load_is_refused_with_its_place(line: str, message: str) -> None:
    (problem,) = told(f"{DOTTED}pools.app.{line}\n")
    assert message in problem
    assert problem.startswith("f.toml:4:"), problem
    assert f": pools.app.{line.split(' ')[0]}" in problem


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ('policy = "random"\nreported = "weight"', "random pays no heed to weights", "weighted_random does"),
        ('reported = "load"', "least_request does not compare load", "only least_load"),
        (
            'policy = "least_load"\nload = "latency"\nreported = "load"',
            "the pool compares another load than the one that is reported",
            'write load = "reported"',
        ),
        (
            'policy = "least_load"\nload = "reported"\nreported = "weight"',
            "their reports are not used as a load",
            'write reported = "load"',
        ),
        (
            'policy = "least_load"\nreported = { as = "load", blackout = "1s" }',
            "a reported load has no blackout",
            "an old load fades by itself",
        ),
    ],
)
def test_reported_load_fits_the_policy(settings: str, message: str, hint: str) -> None:
    (problem,) = told(LONG + settings)
    assert message in problem
    assert hint in problem


@pytest.mark.parametrize("key", ["priority = -1", 'priority = "1"', 'zone = ""', "zone = 1"])
def test_an_endpoint_has_a_priority_and_a_zone_with_a_name(key: str) -> None:
    (problem,) = told(DOTTED.replace('"10.0.0.1:80"', '{ address = "10.0.0.1:80", ' + key + " }"))
    assert f"pools.app.endpoints[0].{key.split(' ')[0]}" in problem


def test_a_pool_has_eight_different_priorities_at_most() -> None:
    endpoints = ", ".join(f'{{ address = "10.0.0.{n}:80", priority = {n} }}' for n in range(1, 10))
    (problem,) = told(DOTTED.replace('"10.0.0.1:80"', endpoints))
    assert "more than 8 different priorities" in problem


@pytest.mark.parametrize(
    "line",
    [
        'listeners.web.protocol = "http"',
        "listeners.web.proxy_protocol = false",
        'pools.app.protocol = "http1"',
    ],
)
def test_the_default_of_what_comes_later_is_accepted(line: str) -> None:
    config.load_text(DOTTED + line)


@pytest.mark.parametrize("name", ["ring_hash", "maglev", "rendezvous", "bounded_hash"])
def test_a_policy_that_hashes_says_how_a_key_is_written(name: str) -> None:
    forms = 'write key = "address", "path", "header:NAME", "cookie:NAME" or "query:NAME"'
    assert told(DOTTED + f'pools.app.policy = "{name}"') == [
        f"f.toml:4:11: pools.app.policy: {name} needs a key: what ties requests together\nhint: {forms}"
    ]


POLICY_SETTINGS = [
    ('"ring_hash", key = "user"', 'pools.app.policy.key: "user" is no key'),
    ('"maglev", key = "path", ring_size = 10', 'pools.app.policy.ring_size: maglev has no "ring_size"'),
    ('"maglev", key = "path", table_size = 65536', "pools.app.policy.table_size: 65536 is no prime"),
    ('"rendezvous", key = "path", salt = "x"', "pools.app.policy.salt: unknown key"),
    ('"bounded_hash", key = "path", balance = 1', "pools.app.policy.balance: "),
    ('"random", key = "path"', 'pools.app.policy.key: random has no "key"'),
]


@pytest.mark.parametrize(("policy", "message"), POLICY_SETTINGS)
def test_a_setting_that_a_policy_does_not_know_or_cannot_have_is_refused(policy: str, message: str) -> None:
    (problem,) = told(DOTTED + f"pools.app.policy = {{ name = {policy} }}")
    assert message in problem
    assert "\nhint: " in problem


def test_sticky_is_told_how_to_get_a_secret(tmp_path: Path) -> None:
    (problem,) = told(DOTTED + 'pools.app.policy = "sticky"')
    assert "pools.app.policy: sticky needs a secret_file" in problem
    assert "openssl rand -hex 32" in problem

    def told_of(secret_file: Path, more: str = "") -> str:
        policy = f'{{ name = "sticky", secret_file = "{secret_file}"{more} }}'
        (problem,) = told(DOTTED + f"pools.app.policy = {policy}")
        assert "\nhint: " in problem
        return problem

    missing = told_of(tmp_path / "none.key")
    assert f"pools.app.policy.secret_file: {tmp_path}/none.key: there is no such file" in missing
    assert f"openssl rand -hex 32 > {tmp_path}/none.key" in missing
    short = tmp_path / "short.key"
    short.write_text("0123456789abcde\n")
    assert "holds fewer than 16 bytes" in told_of(short)
    assert "0123456789" not in told_of(short)
    assert "is larger than" in told_of(Path("/dev/zero"))
    assert "is a directory" in told_of(tmp_path)
    sound = tmp_path / "sound.key"
    sound.write_text("0123456789abcdef")
    wrong = told_of(sound, ', same_site = "none"')
    assert "pools.app.policy.same_site: browsers refuse" in wrong
    assert "0123456789abcdef" not in wrong
    assert 'sticky has no "key"' in told_of(sound, ', key = "path"')
    assert 'unknown same_site "some"' in told_of(sound, ', same_site = "some"')


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    problems = told('workers = -1\nlisten = "8080"\nendpoints = ["a", "b:1"]\npolicy = "p3c"\nfoo = 1\n')
    assert [problem.split(": ")[0] for problem in problems] == [
        "f.toml:1:1", "f.toml:2:1", "f.toml:3:14", "f.toml:4:1", "f.toml:5:1",
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            config.load(path)
        return str(caught.value)

    assert refused(tmp_path / "none.toml").startswith(f"{tmp_path}/none.toml: there is no such file\nhint: ")
    assert refused(tmp_path) == f"{tmp_path}: this is no file"
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'listen = ":80"\n# caf\xe9\n')
    assert refused(latin) == f"{latin}:2:6: this is not UTF-8\nhint: TOML is UTF-8 text"
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (8 * 2**20 + 1))
    assert refused(large).startswith(f"{large}: the file is larger than 8 MiB")


def test_the_search_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if Path("/etc/steelyard/steelyard.toml").exists():
        pytest.fail("this machine has a configuration in /etc/steelyard, which the search would find")
    with pytest.raises(UsageError, match=r"at \$STEELYARD_CONFIG, ./steelyard.toml, /etc/steelyard/"):
        config.find(None, {})
    Path("steelyard.toml").write_text(SHORT)
    assert config.find(None, {}) == Path("steelyard.toml")
    assert config.find(None, {"STEELYARD_CONFIG": "/x.toml"}) == Path("/x.toml")
    assert config.find(Path("y.toml"), {"STEELYARD_CONFIG": "/x.toml"}) == Path("y.toml")


@pytest.mark.parametrize("protocol", ["h2", "auto"])
def test_what_is_agreed_on_within_tls_takes_tls(protocol: str) -> None:
    line = f'pools.app.protocol = "{protocol}"'
    (problem,) = told(DOTTED + line)
    assert problem.startswith(f'f.toml:4:11: pools.app.protocol: "{protocol}" is ')
    assert 'hint: write tls = true beside it, or "h2c"' in problem
    config.load_text(DOTTED + line + "\npools.app.tls = true", "f.toml")
