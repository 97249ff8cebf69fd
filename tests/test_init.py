"""`steelyard init` writes files that hold, and overwrites nothing."""

import configparser
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from language import authority
from steelyard import config
from steelyard.cli.init import compose_file, unit, write
from steelyard.config.acme import folder_of
from steelyard.errors import SteelyardError


def steelyard(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from steelyard.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_what_it_writes_is_sound(tmp_path: Path) -> None:
    done = steelyard("init", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "wrote steelyard.toml\n")
    loaded = config.load(tmp_path / "steelyard.toml")
    assert list(loaded.listeners) == ["web"]
    assert loaded.pools["app"].health.path == "/healthz"


def test_the_long_form_in_its_comments_is_sound_too(tmp_path: Path) -> None:
    steelyard("init", cwd=tmp_path)
    lines = (tmp_path / "steelyard.toml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# drain_timeout"))
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[start:])
    pair = authority().certificate("a.example")
    pair.cert.rename(tmp_path / "site.pem")
    pair.key.rename(tmp_path / "site.key")
    (tmp_path / "steelyard.toml").write_text(text)
    assert set(config.load(tmp_path / "steelyard.toml").pools) == {"app", "api", "db", "dns"}


def test_its_first_line_names_the_schema_that_is_shipped(tmp_path: Path) -> None:
    steelyard("init", cwd=tmp_path)
    first = (tmp_path / "steelyard.toml").read_text().splitlines()[0]
    assert first == f"#:schema {config.SCHEMA_PATH.as_uri()}"
    assert config.SCHEMA_PATH.is_file()


def test_a_unit_and_a_compose_file_are_written_beside_it(tmp_path: Path) -> None:
    done = steelyard("init", "etc.toml", "--systemd", "--compose", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["written"] == ["etc.toml", "steelyard.service", "compose.yaml"]
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string((tmp_path / "steelyard.service").read_text())
    assert unit["Service"]["ExecStart"].endswith(f"run {tmp_path / 'etc.toml'}")
    assert unit["Service"]["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    compose = (tmp_path / "compose.yaml").read_text()
    assert "./etc.toml:/etc/steelyard/steelyard.toml:ro" in compose


def test_what_is_obtained_in_a_container_outlives_it() -> None:
    lines = compose_file(Path("a.toml")).splitlines()
    (mounted,) = [line.split("- ")[1] for line in lines if line.endswith(":/var/lib/steelyard")]
    volume, _, folder = mounted.partition(":")
    # It is the folder that root's instance keeps its state in, and a volume that is declared.
    acme = config.load_text(
        '[acme]\nagree_tos = true\n[listeners.web]\nbind = [":0"]\n[pools.app]\nendpoints = ["a:1"]\n'
    ).acme
    assert acme is not None
    with mock.patch("os.geteuid", return_value=0):
        assert folder_of(acme, {}).is_relative_to(folder)
    assert lines[lines.index("volumes:") :] == ["volumes:", f"  {volume}:"]
    assert any("steelyard[acme]==" in line for line in lines)


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("mine")
    done = steelyard("init", "--systemd", "--compose", cwd=tmp_path)
    assert done.returncode == 2
    assert "compose.yaml is there already; nothing was written" in done.stderr
    assert (tmp_path / "compose.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["compose.yaml"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = steelyard("init", "nowhere/steelyard.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == "error: cannot write nowhere/steelyard.toml: no such file or directory; nothing was written\n"
    )


def test_when_one_cannot_be_written_the_others_go_again(tmp_path: Path) -> None:
    with pytest.raises(SteelyardError, match=r"cannot write .*: file name too long; nothing was written"):
        write({tmp_path / "first": "text", tmp_path / ("x" * 300): "text"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/etc/steelyard.toml", "/etc/steelyard.toml"),
        ("/srv/my proxy/a.toml", '"/srv/my proxy/a.toml"'),
        ("/srv/100%/$HOME.toml", "/srv/100%%/$$HOME.toml"),
        ('/srv/"x" \\.toml', '"/srv/\\"x\\" \\\\.toml"'),
    ],
)
def test_a_path_is_one_word_for_systemd(path: str, word: str) -> None:
    lines = unit(Path(path)).splitlines()
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith(f" run {word}")


def test_any_name_of_the_file_is_one_string_for_compose() -> None:
    assert '      - "./my $$1 file.toml:/etc/steelyard/steelyard.toml:ro"\n' in compose_file(
        Path("/srv/my $1 file.toml")
    )
