"""Policies written in Python: a score, found by its name and compiled to native code.

A score is a function of one endpoint that says how little it is wanted; the lowest is taken::

    def score(endpoint):
        return (1 + endpoint.in_flight) * endpoint.latency / endpoint.weight

The workers call the compiled function without the interpreter, so it may do arithmetic and nothing else:
what could raise an error or allocate memory is refused when the configuration is read. One that is
*interpreted* may do anything: it is called now and then by a thread of its own, see `steelyard.interpreted`.
"""

import hashlib
import importlib
import importlib.util
import inspect
import itertools
import math
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from steelyard.errors import Problem, UsageError

__all__ = [
    "FACTS",
    "Compiled",
    "Endpoint",
    "ScoreError",
    "ScoreFunction",
    "compile_score",
    "find_score",
    "has_module",
    "is_score",
]


class Endpoint(NamedTuple):
    """What a score may look at."""

    in_flight: float
    """Requests in flight, and for each recent failure one more that fades."""
    latency: float
    """Smoothed response time in seconds; 0 before the first response, without any it fades to the pool's."""
    error_rate: float
    """The smoothed share of attempts that failed, 0 to 1; without attempts it fades."""
    weight: float
    """The weight in force."""
    bytes_per_second: float
    """Both directions together."""
    age: float
    """Seconds since it joined."""
    zone_match: float
    """1 where it stands in this instance's own zone, else 0."""


FACTS = Endpoint._fields
"""The names of what a score may look at, in the order in which the compiled function takes them."""


class ScoreError(UsageError):
    """What is wrong with a score, where in its file, and what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None, place: str | None = None) -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        file, _, line = place.rpartition(":") if place else ("", "", "")
        self.problem = Problem(message, None, hint, file or None, int(line) if line else None)


@dataclass(frozen=True)
class Compiled:
    """A compiled score. Whoever hands its address on must keep it; `compile_score` keeps all it makes."""

    label: str
    address: int
    native: Any
    file: str
    line: int
    """Where it begins."""
    reads: tuple[str, ...]
    """The facts that its result depends on."""


@dataclass(frozen=True)
class ScoreFunction:
    """A score as it was found: two of the same name and version are the same function."""

    label: str
    version: str
    function: Callable[..., Any]

    @property
    def place(self) -> str:
        return _place(self.function)


_kept: dict[tuple[str, str], Compiled] = {}
"""Every function that was ever compiled, by name and content: a worker may call one while a request lasts."""


def is_score(name: str) -> bool:
    """Whether this names a function in a module, as "mymodule:score" does."""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def has_module(name: str, folder: Path | None) -> bool:
    """Whether there is a module of this plain name, other than Python's own. It is not imported."""
    if folder is not None and (folder / f"{name}.py").is_file():
        return True
    return name not in sys.stdlib_module_names and importlib.util.find_spec(name) is not None


def compile_score(name: str, folder: Path | None) -> Compiled:
    """The score of this name, looked for in `folder` first, compiled and tried."""
    source = find_score(name, folder)
    key = (name, source.version)
    if key in _kept:
        return _kept[key]
    code = source.function.__code__
    address, native = _compile(source.function, source.place)
    place = (code.co_filename, code.co_firstlineno)
    compiled = Compiled(name, address, native, *place, _reads(native))
    _try(compiled, source.place)
    _kept[key] = compiled
    return compiled


def find_score(name: str, folder: Path | None) -> ScoreFunction:
    """The function of this name, looked for in `folder` first. It is not called."""
    module_name, _, function_name = name.partition(":")
    module, content = _module(module_name, folder)
    function = getattr(module, function_name, None)
    if not inspect.isfunction(function):
        raise _no_function(module_name, function_name, module)
    _check_kind(function, _place(function))
    _check_arity(function, _place(function))
    return ScoreFunction(name, content, function)


def _no_function(module_name: str, function_name: str, module: ModuleType) -> ScoreError:
    functions = [
        name for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")
    ][:_NAMED_MAX]
    known = f"it has {', '.join(functions)}" if functions else "it has no functions"
    if (found := getattr(module, function_name, None)) is not None:
        what = "a class" if inspect.isclass(found) else f"of type {type(found).__name__}"
        return ScoreError(f"{module_name}.{function_name} is {what}, no function", hint=known)
    return ScoreError(f'the module {module_name} has no function "{function_name}"', hint=known)


_NAMED_MAX = 8


def _module(name: str, folder: Path | None) -> tuple[ModuleType, str]:
    """The module and what tells this version of it from others."""
    beside = folder / Path(*name.split(".")).with_suffix(".py") if folder is not None else None
    try:
        if beside is not None and beside.is_file():
            text = beside.read_bytes()
            module = ModuleType(name)
            module.__file__ = str(beside)
            # Read anew each time and registered nowhere: a reload sees what the file says now.
            exec(compile(text, str(beside), "exec"), module.__dict__)
            return module, f"{beside}:{hashlib.sha256(text).hexdigest()}"
        return importlib.import_module(name), name
    except ModuleNotFoundError as error:
        where = f"{folder}, then " if folder is not None else ""
        if name.endswith(".py"):
            raise ScoreError(
                f"{error}", hint=f'a module is named without ".py": "{name[:-3]}:..."'
            ) from error
        raise ScoreError(f"{error}", hint=f"looked in {where}{', '.join(filter(None, sys.path))}") from error
    except SyntaxError as error:
        # What is no text at all has no lines.
        file = error.filename or str(beside or name)
        raise ScoreError(error.msg, place=f"{file}:{error.lineno or 1}") from error
    except (Exception, SystemExit) as error:
        # The innermost line of its own file, else that of whatever it imports.
        frames = traceback.extract_tb(error.__traceback__)
        own = [one for one in frames if beside is not None and one.filename == str(beside)]
        place = f"{own[-1].filename}:{own[-1].lineno}" if own else None
        told = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ScoreError(f"the module {name} cannot be imported: {told}", place=place) from error


def _place(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _check_kind(function: Callable[..., Any], place: str) -> None:
    """What a call does not give a number."""
    flags = function.__code__.co_flags
    for flag, what in _NO_NUMBER.items():
        if flags & flag:
            raise ScoreError(
                f"{function.__name__} {what}, but a score is one number, returned at once",
                hint=f"write def {function.__name__}(endpoint)",
                place=place,
            )


_NO_NUMBER = {
    inspect.CO_COROUTINE: "is an async function, which gives a coroutine",
    inspect.CO_ASYNC_GENERATOR: "is an async generator",
    inspect.CO_GENERATOR: "is a generator",
}


def _check_arity(function: Callable[..., Any], place: str) -> None:
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise ScoreError(
            f"{function.__name__}{inspect.signature(function)} does not take one endpoint",
            hint=f"write def {function.__name__}(endpoint)",
            place=place,
        ) from error
    if function.__code__.co_argcount == 0:
        # A tuple of endpoints compiles where nothing is read of it, and then scores all alike.
        raise ScoreError(
            f"{function.__name__}{inspect.signature(function)} has no parameter for the endpoint itself",
            hint=f"write def {function.__name__}(endpoint)",
            place=place,
        )


def _compile(function: Callable[..., Any], place: str) -> tuple[int, Any]:
    try:
        import numba
        from numba.core.errors import NumbaError
    except ImportError as error:
        raise ScoreError(
            "a policy written in Python is compiled by numba, which is not installed",
            hint='pip install "steelyard[numba]"; or without it: '
            'policy = { name = "...", python_policy = "interpreted" }',
        ) from error
    code = function.__code__
    if code.co_kwonlyargcount or code.co_flags & inspect.CO_VARKEYWORDS:
        # numba speaks of tuples and bindings then.
        raise ScoreError(
            f"{function.__name__} has parameters by name besides the endpoint, which cannot be compiled",
            hint=f"write def {function.__name__}(endpoint)",
            place=place,
        )
    # With bounds checked, an index can raise, which is refused below: unchecked it would read foreign memory.
    inner = numba.njit(error_model="numpy", forceinline=True, boundscheck=True)(function)

    def score(
        in_flight: float,
        latency: float,
        error_rate: float,
        weight: float,
        bytes_per_second: float,
        age: float,
        zone_match: float,
    ) -> Any:
        return inner(Endpoint(in_flight, latency, error_rate, weight, bytes_per_second, age, zone_match))

    try:
        signature = numba.float64(*[numba.float64] * len(FACTS))
        native = numba.cfunc(signature, error_model="numpy")(score)
    except NumbaError as error:
        message, hint = _in_other_words(_first_line(error), function.__name__)
        raise ScoreError(message, hint=hint, place=_line_of(error, function) or place) from error
    except Exception as error:
        # What it does not know at all it refuses with whatever error comes to hand.
        told = _first_line(error) or type(error).__name__
        raise ScoreError(
            f"{function.__name__} cannot be compiled: {told}", hint=_HINT, place=place
        ) from error
    machine = native.inspect_llvm()
    for call, what in _FORBIDDEN.items():
        if call in machine:
            raise ScoreError(f"{function.__name__} {what}", hint=_HINT, place=place)
    if _INTEGER_DIVISION.search(machine):
        raise ScoreError(
            f"{function.__name__} divides whole numbers, which by zero gives 0, the best score",
            hint="leave out int(): the endpoint's numbers are floats, of which x / 0 is infinite, the worst",
            place=place,
        )
    address: Any = native.address
    return int(address), native


def _reads(native: Any) -> tuple[str, ...]:
    """The facts that the compiled code looks at: the engine need not work out the others.

    It was optimised as a whole, so that an argument which it does not name cannot matter.
    """
    entry = re.search(
        r"^define [^\n]*@\"?cfunc\.[^\n]*\((.*?)\)[^\n]*\{\n(.*?)^\}", native.inspect_llvm(), _TEXT
    )
    arguments = re.findall(r"double (?:\w+ )*(%[\w.\"]+)", entry[1]) if entry else []
    if entry is None or len(arguments) != len(FACTS):
        return FACTS
    named = set(re.findall(r"%[\w.\"]+", entry[2]))
    return tuple(fact for fact, argument in zip(FACTS, arguments, strict=True) if argument in named)


_TEXT = re.MULTILINE | re.DOTALL
_INTEGER_DIVISION = re.compile(r"= [su](?:div|rem) ")
_HINT = (
    "a score may do arithmetic on the endpoint's numbers, and nothing else; "
    'with python_policy = "interpreted" it may do anything, once a second'
)
_FORBIDDEN = {
    "PyGILState_Ensure": "can raise an error, for which a worker would have to wait for the interpreter",
    "numba_gil_ensure": "can raise an error, for which a worker would have to wait for the interpreter",
    "NRT_Allocate": "allocates memory",
    "NRT_MemInfo_alloc": "allocates memory",
}
"""What compiled code calls, and what that means for a worker."""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Failed in", "During:", "File "))]
    return (told or lines or ["it cannot be compiled"])[0].rstrip(".")


def _in_other_words(told: str, function: str) -> tuple[str, str]:
    """What the compiler says, where its words would not be understood, and what to do."""
    if found := re.match(r"No conversion from (.+) to float64 for '\$\d+return_value", told):
        what = "None" if found[1] == "none" else f"what is no number ({found[1].partition('(')[0]})"
        return f"{function} returns {what}", "a score is one number, returned on every way through it"
    if found := re.match(r"Unknown attribute '(\w+)' of type Endpoint", told):
        near = get_close_matches(found[1], FACTS, n=1)
        hint = f"did you mean endpoint.{near[0]}?" if near else f"an endpoint has {', '.join(FACTS)}"
        return f"Unknown attribute '{found[1]}' of an endpoint", hint
    return told, _HINT


def _line_of(error: Any, function: Callable[..., Any]) -> str | None:
    """The innermost line of the function's file that the compiler names."""
    filename = function.__code__.co_filename
    # It writes paths as they are seen from the working directory.
    named = re.findall(r'File "([^"]+)", line (\d+)', str(error))
    lines = [line for path, line in named if Path(path).name == Path(filename).name]
    return f"{filename}:{lines[-1]}" if lines else None


def _try(compiled: Compiled, place: str) -> None:
    """Calls it with what endpoints look like, and refuses what is no number."""
    call = compiled.native.ctypes
    for values in itertools.product(
        (0, 1, 1000), (0, 0.01, 60), (0, 1), (1, 100), (0, 1e6), (0, 3600), (0, 1)
    ):
        if math.isnan(call(*map(float, values))):
            told = ", ".join(f"{name}={value:g}" for name, value in zip(FACTS, values, strict=True))
            raise ScoreError(
                f"the score is no number for {told}",
                hint="guard the division, for instance by max(x, 1e-3)",
                place=place,
            )
