import inspect
import subprocess
import sys
from importlib import import_module
from pkgutil import walk_packages

import pytest

import steelyard
from steelyard.errors import SteelyardError


def modules() -> list[str]:
    found = [one.name for one in walk_packages(steelyard.__path__, "steelyard.")]
    assert "steelyard.cli.steer" in found
    return ["steelyard", *(name for name in found if name != "steelyard._core")]


def test_the_package_knows_its_version() -> None:
    assert steelyard.__version__ == "0.1.0"


def test_the_public_names_are_there_and_no_others() -> None:
    assert sorted(steelyard.__all__) == ["Config", "ConfigSource", "Control", "SteelyardError", "__version__"]
    for name in steelyard.__all__:
        assert getattr(steelyard, name) is not None
        assert name in dir(steelyard)
    from steelyard.control import Control

    assert steelyard.Control is Control
    with pytest.raises(AttributeError, match="has no attribute 'Contro'"):
        steelyard.Contro  # noqa: B018 - asking is the point


@pytest.mark.parametrize("name", modules())
def test_every_exception_of_the_package_is_one_family(name: str) -> None:
    for one in vars(import_module(name)).values():
        if inspect.isclass(one) and issubclass(one, BaseException) and one.__module__ == name:
            assert issubclass(one, SteelyardError), one


def test_elsewhere_than_on_linux_one_message_says_so() -> None:
    # As it is there: another name of the system, and no extension.
    script = "import sys; sys.platform = 'darwin'; sys.modules['steelyard._core'] = None\n"
    script += "from steelyard.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "status"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: steelyard runs on Linux only for now, and this is darwin\n"
