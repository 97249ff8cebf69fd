"""Certificates as files: what is wrong with them is said by name, and what changes in them is followed."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from language import (
    Authority,
    Command,
    Pair,
    Plan,
    authority,
    command,
    eventually,
    names_of,
    openssl_client,
    origin,
    proxy,
    raw,
    steady_load,
)
from steelyard import _core, config
from steelyard.errors import ConfigError, Problem

TEXT = """
[listeners.web]
bind = ["127.0.0.1:8443"]
pool = "app"

[listeners.web.tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
{more}

[pools.app]
endpoints = ["127.0.0.1:9001"]
{pool}
"""


def written(pair: Pair, *, more: str = "", pool: str = "") -> Path:
    path = pair.cert.parent / "steelyard.toml"
    path.write_text(TEXT.format(**pair.files, more=more, pool=pool))
    return path


def problems(pair: Pair, **more: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as refused:
        config.load(written(pair, **more))
    return refused.value.problems


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def no_file(pair: Pair) -> None:
    pair.key.unlink()


def a_folder(pair: Pair) -> None:
    pair.cert.unlink()
    pair.cert.mkdir()


def no_pem(pair: Pair) -> None:
    pair.cert.write_text("nothing")


def damaged(pair: Pair) -> None:
    pair.cert.write_text(pair.cert.read_text().replace("M", "*"))


def no_certificate(pair: Pair) -> None:
    openssl("req", "-new", "-key", pair.key, "-subj", "/CN=a.example", "-out", pair.cert)


def swapped(pair: Pair) -> None:
    cert, key = pair.cert.read_bytes(), pair.key.read_bytes()
    pair.cert.write_bytes(key)
    pair.key.write_bytes(cert)


def encrypted(pair: Pair) -> None:
    plain = pair.key.rename(pair.key.with_suffix(".plain"))
    openssl("pkey", "-in", plain, "-aes128", "-passout", "pass:secret", "-out", pair.key)


def encrypted_as_of_old(pair: Pair) -> None:
    openssl("genrsa", "-traditional", "-aes128", "-passout", "pass:secret", "-out", pair.key, "2048")


def of_another(pair: Pair) -> None:
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pair.key)


def weak(pair: Pair) -> None:
    options = ["-newkey", "rsa:1024", "-nodes", "-days", "9", "-subj", "/CN=a.example"]
    openssl("req", "-x509", *options, "-keyout", pair.key, "-out", pair.cert)


def of_a_kind_that_nobody_knows(pair: Pair) -> None:
    openssl("genpkey", "-algorithm", "x448", "-out", pair.key)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("spoil", "file", "message", "hint"),
        [
            (no_file, "key", ": there is no such file", "folder of the configuration"),
            (a_folder, "cert", " is no file", None),
            (no_pem, "cert", " holds no certificate", "BEGIN CERTIFICATE"),
            (damaged, "cert", " is damaged", None),
            (no_certificate, "cert", " holds no certificate", "BEGIN CERTIFICATE"),
            (swapped, "cert", " holds a key and no certificate", "key the private key"),
            (encrypted, "key", ": the key is encrypted", "openssl pkey"),
            (encrypted_as_of_old, "key", ": the key is encrypted", "openssl pkey"),
            (of_another, "key", " is not the key of ", "first certificate"),
            (weak, "cert", ": an RSA key of 1024 bits is too weak", "2048"),
            (of_a_kind_that_nobody_knows, "key", " holds a key that cannot be used", "ECDSA"),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_is_said_of_the_file(
        self, spoil: Callable[[Pair], None], file: str, message: str, hint: str | None
    ) -> None:
        pair = authority().certificate("a.example")
        spoil(pair)
        (problem,) = problems(pair)
        assert problem.message.startswith(f"{getattr(pair, file)}{message}")
        assert problem.key == f"listeners.web.tls.certificates[0].{file}"
        assert problem.line == 7
        assert hint is None or hint in (problem.hint or "")

    def test_is_that_it_cannot_be_read(self) -> None:
        pair = authority().certificate("a.example")
        document = json.dumps(config.document(config.load(written(pair))))
        pair.key.chmod(0)
        with as_nobody():
            found = json.loads(_core.check_files(document))["problems"]
        assert f"{pair.key}: permission denied" in [one["message"] for one in found]

    @pytest.mark.parametrize(
        ("begins", "ends", "message"),
        [(-9.0, -3.5, "has expired on "), (1.0, 9.0, "is not valid before ")],
    )
    def test_is_the_time(self, begins: float, ends: float, message: str) -> None:
        pair = authority().certificate("a.example", begins_in_days=begins, ends_in_days=ends)
        (problem,) = problems(pair)
        assert problem.message.startswith(f"{pair.cert} {message}")
        assert "3 days ago" in problem.message or begins > 0

    def test_is_all_said_at_once(self, tmp_path: Path) -> None:
        ca = authority()
        pair = ca.certificate("a.example")
        of_another(pair)
        pool = '[pools.app.tls]\nca = "none.pem"\ncert = "mine.pem"'
        said = problems(pair, more='client_ca = "clients.pem"', pool=pool)
        assert [one.message for one in said] == ["the certificate lacks its key"]
        pool += f'\nkey = "{pair.key}"'
        said = problems(pair, more='client_ca = "clients.pem"', pool=pool)
        assert sorted(one.key or "" for one in said) == [
            "listeners.web.tls.certificates[0].key",
            "listeners.web.tls.client_ca",
            "pools.app.tls.ca",
            "pools.app.tls.cert",
        ]

    def test_holds_no_secret(self) -> None:
        pair = authority().certificate("a.example")
        pair.key.write_text("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n")
        (problem,) = problems(pair)
        assert "secret" not in str(problem)


class TestWhatShouldBeKnown:
    def warnings(self, pair: Pair, **more: str) -> list[Problem]:
        path = written(pair, **more)
        return config.warnings(config.load(path), path)

    def test_nothing_of_a_sound_one(self) -> None:
        assert self.warnings(authority().certificate("a.example")) == []

    def test_that_it_ends_soon(self) -> None:
        (one,) = self.warnings(authority().certificate("a.example", ends_in_days=13.5))
        assert "in 13 days" in one.message
        (one,) = self.warnings(authority().certificate("a.example", ends_in_days=0.5))
        assert one.message.endswith("expires today")

    def test_that_it_names_no_host(self) -> None:
        (one,) = self.warnings(authority().certificate("me@a.example"))
        assert "names no host" in one.message

    def test_that_no_certificate_stands_for_a_host(self) -> None:
        pair = authority().certificate("a.example", "*.b.example")
        hosts = ["a.example", "x.b.example", "*.b.example", "b.example", "*.a.example"]
        routes = "".join(f'\n[[routes]]\nhost = "{host}"\npool = "app"\n' for host in hosts)
        found = self.warnings(pair, pool=routes)
        assert [one.key for one in found] == ["routes[3].host", "routes[4].host"]
        assert '"b.example"' in found[0].message

    def test_that_nothing_is_verified(self) -> None:
        pair = authority().certificate("a.example")
        (one,) = self.warnings(pair, pool="tls = { verify = false }")
        assert one.key == "pools.app.tls.verify"


LIVE = """
[admin]
socket = "auto"
[listeners.web]
bind = ["127.7.0.1:{port}"]
pool = "app"
[listeners.web.tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[pools.app]
endpoints = ["{endpoint}"]
health = {{ path = "/healthz" }}
"""


class Live:
    """`steelyard run` with one certificate."""

    def __init__(self, ca: Authority, pair: Pair) -> None:
        import contextlib
        import socket

        with contextlib.closing(socket.create_server(("127.7.0.1", 0))) as one:
            self.port = int(one.getsockname()[1])
        self.ca = ca
        self._endpoint = origin().start()
        self._pair = pair
        self.running: Command = command(self.text())
        eventually(lambda: self.shown() != set(), "it serves")

    def text(self, policy: str = "") -> str:
        return LIVE.format(**self._pair.files, port=self.port, endpoint=self._endpoint.address) + policy

    def listening(self, listener: str = "web") -> tuple[str, int]:
        return "127.7.0.1", self.port

    def shown(self) -> set[str]:
        """The names of the certificate that a new connection is shown."""
        context = self.ca.believer()
        context.check_hostname = False
        try:
            connection = raw(self, tls=context)
        except OSError:
            return set()
        names = names_of(connection.tls.getpeercert())
        connection.close()
        return names

    def status(self) -> Any:
        return json.loads(self.running.steelyard("status", "--json").stdout)


def has_expired(plan: Plan) -> bool:
    problems = json.loads(_core.check_files(plan.json()))["problems"]
    return ["has expired" in one["message"] for one in problems] == [True]


class TestChanges:
    def test_are_followed_and_nobody_is_dropped(self) -> None:
        ca = authority()
        pair = ca.certificate("a.example", "0.example")
        live = Live(ca, pair)
        context = ca.believer()
        context.check_hostname = False
        stays = raw(live, tls=context)
        with steady_load(live, clients=8, tls=context) as busy:
            for turn in range(1, 6):
                pair.replace_by(ca.certificate("a.example", f"{turn}.example"))
                eventually(lambda turn=turn: f"{turn}.example" in live.shown())  # type: ignore[misc]
                before = busy.completed
                eventually(lambda before=before: busy.completed > before + 50)  # type: ignore[misc]
        busy.tally.expect_all(200)
        assert busy.tally.connections == 8
        stays.get().expect_response(200)
        assert "0.example" in names_of(stays.tls.getpeercert())
        assert live.status()["listeners"][0]["tls"]["failures"] == 0

    def test_for_the_worse_leave_the_old_one_in_force(self) -> None:
        ca = authority()
        pair = ca.certificate("a.example")
        live = Live(ca, pair)
        pair.key.write_bytes(ca.certificate("a.example").key.read_bytes())
        said = f"{pair.key} is not the key of {pair.cert}"
        eventually(lambda: said in live.running.errors(), "it is said")
        assert "the old certificates stay in force" in live.running.errors()
        assert live.shown() == {"a.example"}
        # A reload says it too, and leaves everything as it was.
        live.running.write(live.text('policy = "random"\n'))
        refused = live.running.steelyard("reload")
        assert refused.returncode == 2
        assert said in refused.stderr
        assert live.status()["pools"][0]["policy"] == "least_request"
        # What else is changed at run time does not fail for its sake.
        endpoint = live.status()["pools"][0]["endpoints"][0]["address"]
        assert live.running.steelyard("weight", endpoint, "3").returncode == 0
        assert live.shown() == {"a.example"}
        # And what has been put right is in force again.
        pair.replace_by(ca.certificate("b.example"))
        eventually(lambda: live.shown() == {"b.example"})

    def test_one_that_has_expired_while_in_force_stops_nothing_else(self) -> None:
        ca = authority()
        pair = ca.certificate("a.example", ends_in_days=4 / 86_400)
        other = ca.certificate("b.example")

        def plan(*pairs: Pair) -> Plan:
            return proxy().pool("127.0.0.1:1").listener(tls={"certificates": [one.files for one in pairs]})

        running = plan(pair).start()
        eventually(lambda: has_expired(plan(pair)), "it has expired")
        running.apply(plan(pair))
        running.apply(plan(pair, other))
        # But nobody begins with one.
        running.apply(plan(other))
        with pytest.raises(_core.DocumentError, match="has expired"):
            running.apply(plan(other, pair))

    def test_the_status_shows_how_long_they_hold(self) -> None:
        ca = authority()
        live = Live(ca, ca.certificate("a.example", ends_in_days=5.5))
        (one,) = live.status()["listeners"][0]["tls"]["certificates"]
        assert one["names"] == ["a.example"]
        assert one["days_left"] == 5
        shown = live.running.steelyard("status").stdout
        assert f"{one['file']} for a.example: until {one['not_after']}, 5 days left" in shown
        assert "in 5 days" in live.running.errors()


def test_the_command_tells_of_warnings_and_of_problems() -> None:
    ca = authority()
    pair = ca.certificate("a.example", ends_in_days=1.5)
    live = Live(ca, pair)
    path = written(pair)
    sound = live.running.steelyard("check", str(path))
    assert sound.returncode == 0
    assert f"warning: {path}:7" in sound.stderr
    assert "expires tomorrow" in sound.stderr
    as_json = json.loads(live.running.steelyard("check", "--json", str(path)).stdout)
    assert as_json["ok"] is True
    assert [one["key"] for one in as_json["warnings"]] == ["listeners.web.tls.certificates[0].cert"]
    of_another(pair)
    refused = live.running.steelyard("check", str(path))
    assert refused.returncode == 2
    assert f"{path}:7" in refused.stderr
    assert "is not the key of" in refused.stderr


def test_what_show_prints_is_accepted_again() -> None:
    pair = authority().certificate("a.example")
    more = 'hsts = { max_age = "1d", include_subdomains = true }\nmin_version = "1.3"\nsession_cache = "off"'
    path = written(pair, more=more, pool="tls = true")
    loaded = config.load(path)
    path.write_text(config.show(loaded))
    assert config.load(path) == loaded


def test_the_manual_shows_what_is_accepted(tmp_path: Path) -> None:
    manual = (Path(__file__).parent.parent / "docs" / "tls.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", manual, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    by_itself = blocks.pop()
    ca = authority()
    (ca.folder / "clients.pem").write_bytes(ca.file.read_bytes())
    pair = ca.certificate("a.example")
    pair.cert.rename(ca.folder / "site.pem")
    pair.key.rename(ca.folder / "site.key")
    path = ca.folder / "steelyard.toml"
    head = '[listeners.web]\nbind = [":8443"]\npool = "app"\n'
    blocks[2] += 'endpoints = ["localhost:9001"]\n'
    path.write_text(head + "\n".join(blocks))
    loaded = config.load(path)
    assert loaded.listeners["plain"].redirect_https == 443
    assert loaded.pools["app"].tls is not None
    path.write_text(by_itself + '[pools.app]\nendpoints = ["localhost:9001"]\n')
    assert (of := config.load(path).listeners["web"].tls) is not None
    assert of.acme == ("example.com", "www.example.com")


def test_openssl_resumes_from_a_file(tmp_path: Path) -> None:
    ca = authority()
    live = Live(ca, ca.certificate("a.example"))
    kept = tmp_path / "session.pem"
    first = openssl_client(live, ca, "-sess_out", str(kept))
    first.say("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").expect("HTTP/1.1 200")
    eventually(kept.exists)
    second = openssl_client(live, ca, "-sess_in", str(kept))
    second.say("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").expect("HTTP/1.1 200")
    assert b"Reused, TLSv1.3" in second.everything
