"""The arrows between the rooms of the Python side, read from the imports themselves."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import steelyard

ROOT = Path(steelyard.__file__).parent

# A room may import itself and the rooms in its row, and nothing else of the package.
ROOMS = {
    "errors": set(),
    "config": {"errors"},
    "control": {"errors", "config"},
    "watch": {"errors", "control"},
    "demo": {"errors", "config", "control"},
    "admin": {"errors", "config", "control"},
    "cli": {"errors", "config", "control", "watch", "demo", "admin"},
    "origin": set(),
    "middleware": set(),
    "__init__": set(),
}
NATIVE = {"config", "control", "origin", "__init__"}
PRINTERS = {"cli"}
ONLY_IN = {
    "typer": {"cli"},
    "rich": {"cli"},
    "fastapi": {"admin"},
    "starlette": {"admin"},
    "uvicorn": {"admin"},
    "httpx": {"admin"},
    "watchfiles": {"watch"},
}


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        yield room, path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that the file imports; `from steelyard import config` is steelyard.config."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            if node.module == "steelyard":
                yield from (f"steelyard.{name.name}" for name in node.names)
            else:
                yield str(node.module)


def test_every_arrow_runs_the_right_way() -> None:
    for room, path, tree in modules():
        assert room in ROOMS, f"{path} is in no room; give it a row here"
        for name in imported(tree):
            first, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if first == "steelyard" and target not in {room, "_core", "__version__"}:
                assert target in ROOMS[room], f"{path}: {room} must not import {name}"


def test_the_extension_is_imported_only_where_it_is_driven() -> None:
    found = {
        room for room, _, tree in modules() if any(n.startswith("steelyard._core") for n in imported(tree))
    }
    assert found <= NATIVE


def test_libraries_of_one_room_stay_there() -> None:
    for room, path, tree in modules():
        for name in imported(tree):
            assert room in ONLY_IN.get(name.split(".")[0], {room}), f"{path}: {room} must not import {name}"


def test_only_the_command_line_prints() -> None:
    for room, path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert room in PRINTERS, f"{path}:{node.lineno} prints"


def test_importing_the_package_loads_no_framework() -> None:
    script = "import sys, steelyard; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"typer", "rich", "click", "fastapi", "starlette", "uvicorn", "httpx", "pydantic", "asyncio"}
    assert heavy.isdisjoint(loaded.stdout.split())


def test_help_and_check_load_no_web_framework(tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text('listen = ":8080"\nendpoints = ["127.0.0.1:9001"]\n')
    script = "import sys; from steelyard.cli.check import check; from pathlib import Path\n"
    script += "check(Path(sys.argv[1]), show=False, as_json=True); print(*sys.modules)"
    command = [sys.executable, "-c", script, str(good)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"fastapi", "uvicorn", "httpx", "watchfiles"}.isdisjoint(loaded.stdout.split())
