"""The arrows between the rooms of the Python side, read from the imports themselves."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import steelyard

ROOT = Path(steelyard.__file__).parent

# A room may import itself and the rooms in its row, and nothing else of the package.
ROOMS = {
    "errors": set(),
    "config": {"errors"},
    "sim": {"errors", "config"},
    "lint": {"errors", "config", "sim"},
    "interpreted": {"errors", "config"},
    "control": {"errors", "config", "interpreted"},
    "acme": {"errors", "config"},
    "watch": {"errors", "config", "control"},
    "demo": {"errors", "config", "control"},
    "admin": {"errors", "config", "control"},
    "cli": {"errors", "config", "sim", "lint", "control", "acme", "watch", "demo", "admin"},
    "origin": set(),
    "middleware": set(),
    "__init__": {"errors", "config", "control"},
}
NATIVE = {"config", "sim", "interpreted", "control", "origin", "__init__"}
PRINTERS = {"cli"}
ONLY_IN = {
    "typer": {"cli"},
    "rich": {"cli"},
    "fastapi": {"admin"},
    "starlette": {"admin"},
    "uvicorn": {"admin"},
    "httpx": {"admin"},
    "watchfiles": {"watch"},
    "matplotlib": {"sim"},
}
ONLY_IN_FILE = {"matplotlib": "sim/plot.py"}


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


def test_libraries_of_one_file_stay_there() -> None:
    for _, path, tree in modules():
        for name in imported(tree):
            only = ONLY_IN_FILE.get(name.split(".")[0])
            assert only is None or path == ROOT / only, f"{path} must not import {name}"


def test_a_simulation_loads_no_library_for_pictures_unless_it_draws() -> None:
    script = "import sys, steelyard.sim, steelyard.sim.plot, steelyard.cli.simulate; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"matplotlib", "numpy", "fastapi", "uvicorn"}.isdisjoint(loaded.stdout.split())


def test_only_the_command_line_prints() -> None:
    for room, path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert room in PRINTERS, f"{path}:{node.lineno} prints"


# What shows words to a person as they come, with whatever steers a terminal or is taken for markup.
RAW = {"echo", "secho", "print", "Text", "from_markup", "add_row", "add_column"}


def test_the_command_line_shows_nothing_but_through_its_own_output() -> None:
    for room, path, tree in modules():
        if room != "cli" or path.name == "output.py":
            continue
        assert "rich.table" not in set(imported(tree)), f"{path}: take the Table of output.py"
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            # A console shows what output.py has made, and a version has no words of anybody's.
            sound = called in ("out.print", "console().print") or "__version__" in ast.unparse(node)
            assert sound or called.rpartition(".")[2] not in RAW, f"{path}:{node.lineno}: {called}"


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


def public(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return [str(name) for name in ast.literal_eval(getattr(node, "value"))]  # noqa: B009 - either kind
    return None


def taken(folder: Path) -> tuple[dict[str, set[str]], set[str]]:
    """The names that the files in a folder import from each module, and all attributes they use."""
    names: dict[str, set[str]] = {}
    attributes = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names.setdefault(str(node.module), set()).update(name.name for name in node.names)
            elif isinstance(node, ast.Attribute):
                attributes.add(node.attr)
    return names, attributes


def test_every_module_names_exactly_what_others_take_from_it() -> None:
    names, attributes = taken(ROOT)
    # Tests look into modules, too, but need no leave for it.
    in_tests, attributes_in_tests = taken(Path(__file__).parent)
    for _, path, tree in modules():
        listed = public(tree)
        assert listed is not None, f"{path} has no __all__"
        assert len(set(listed)) == len(listed), f"{path} names something twice"
        steps = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(["steelyard", *steps]).removesuffix(".__init__")
        loaded = import_module(module)
        assert all(hasattr(loaded, name) for name in listed), f"{path} names what is not there"
        submodules = {one.stem for one in path.parent.iterdir()} if path.stem == "__init__" else set()
        wanted = names.get(module, set()) - submodules
        assert wanted <= set(listed), f"{path}: others take {sorted(wanted - set(listed))}"
        if module != "steelyard":
            # What pyproject.toml makes commands of is taken from outside.
            used = wanted | attributes | in_tests.get(module, set()) | attributes_in_tests
            unused = set(listed) - used - {"main"}
            assert not unused, f"{path}: nobody takes {sorted(unused)}"
