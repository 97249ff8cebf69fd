"""Turns what pydantic says about the data into what a person wants to read."""

import copy
import math
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from steelyard.config.base import did_you_mean, nearest, quoted
from steelyard.config.pool import Pool
from steelyard.config.root import SHORT_POOL, Config, ConfigFile
from steelyard.config.show import value_of
from steelyard.config.source import KeyPath, Source
from steelyard.errors import Problem

__all__ = ["from_validation", "present", "without_what_is_wrong"]

EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


# The key that says which of several models a table is.
TAG = "kind"


def from_validation(
    error: ValidationError, source: Source, root: type[BaseModel] = ConfigFile
) -> Iterator[Problem]:
    """One problem for each mistake, in the order of the file. `root` is the model of the whole file."""
    all_details = error.errors(include_url=False)
    meant = {
        (*details["loc"][:-1], nearest_key(root, details["loc"]))
        for details in all_details
        if details["type"] == "extra_forbidden"
    }
    for details in all_details:
        # What only follows from another mistake is not told: a key that is missing because it was misspelt, a
        # list that is too short because its items are wrong.
        misspelt = details["type"] == "missing" and details["loc"] in meant
        emptied = details["type"] == "too_short" and details["input"]
        if not misspelt and not emptied:
            yield problem(details, source, root)


def without_what_is_wrong(error: ValidationError, data: dict[str, Any]) -> dict[str, Any] | None:
    """A copy of the data without the keys that the error names, for what can still be checked.

    None where that would take out a whole listener or pool, since what refers to it would then look wrong.
    """
    wrong = set()
    for details in error.errors(include_url=False):
        path = present(details["loc"], data)
        # A list goes as a whole, since its other items would change their places.
        while path and isinstance(path[-1], int):
            path = path[:-1]
        # Without its secret a policy would be told that it lacks one.
        if path and path[-1] == "secret_file":
            path = path[:-1]
        if not path or (path[0] in ("listeners", "pools") and len(path) < 3):
            return None
        wrong.add(path)
    kept = copy.deepcopy(data)
    for path in wrong:
        table: Any = kept
        for step in path[:-1]:
            table = table.get(step, {}) if isinstance(table, dict) else table[step]
        if isinstance(table, dict):
            table.pop(path[-1], None)
    return kept


def problem(details: ErrorDetails, source: Source, root: type[BaseModel]) -> Problem:
    loc = without_tags(details["loc"], source.data)
    path = present(loc, source.data)
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "extra_forbidden":
        message, hint = unknown_key(root, details["loc"])
        return source.problem(loc, message, hint)
    if kind == "missing":
        return source.problem(loc, "this key is missing", missing_hint(loc))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return wrong_tag(path, kind, context, source, root)
    if kind == "steelyard":
        return source.problem(path, str(context["reason"]), context.get("hint"))
    if kind in EXPECTED:
        hint = f"write [{value_of(value)}]" if EXPECTED[kind] == "a list" and isinstance(value, str) else None
        return source.problem(path, f"expected {EXPECTED[kind]}, found {found(value)}", hint)
    if isinstance(value, float) and math.isnan(value):
        return source.problem(path, "nan is no number")
    if kind == "greater_than_equal":
        return source.problem(path, f"{value} is out of range", f"at least {context['ge']}")
    if kind == "greater_than":
        return source.problem(path, f"{value} is out of range", f"more than {context['gt']}")
    if kind == "less_than_equal":
        return source.problem(path, f"{value} is out of range", f"at most {context['le']}")
    if kind == "too_short":
        return source.problem(path, "expected at least one")
    if kind == "literal_error":
        return source.problem(path, f"{found(value)} is not possible here", f"expected {context['expected']}")
    if kind == "string_pattern_mismatch" and context.get("pattern") == "^/":
        return source.problem(path, f'"{value}" is no path', f'did you mean "/{value}"?')
    message = details["msg"]
    return source.problem(path, message[:1].lower() + message[1:])


def present(loc: KeyPath, data: Any) -> KeyPath:
    """The part of a location that stands in the data; the rest was added by a validator."""
    for depth, step in enumerate(loc):
        inside_table = isinstance(data, dict) and step in data
        inside_list = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if not inside_table and not inside_list:
            return loc[:depth]
        data = data[step]
    return loc


def without_tags(loc: KeyPath, data: Any) -> KeyPath:
    """The location without the kind of a table, which pydantic adds where kinds have models of their own."""
    kept: list[str | int] = []
    for step in loc:
        inside_table = isinstance(data, dict) and step in data
        inside_list = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if inside_table or inside_list:
            data = data[step]
        elif isinstance(data, dict) and step == data.get(TAG):
            continue
        kept.append(step)
    return tuple(kept)


def wrong_tag(
    path: KeyPath, kind: str, context: dict[str, Any], source: Source, root: type[BaseModel]
) -> Problem:
    annotation = list(annotations_along(root, (*path, TAG)))[-1]
    known = [tag for model in models_in(annotation) for tag in tags_of(model)]
    if kind == "union_tag_not_found":
        return source.problem((*path, TAG), "this key is missing", f"one of {quoted(known)}")
    tag = str(context["tag"])
    hint = did_you_mean(tag, known) or f"one of {quoted(known)}"
    return source.problem((*path, TAG), f'unknown kind "{tag}"', hint)


def found(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= 40 else "text"
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return "a date or time"


def missing_hint(loc: KeyPath) -> str | None:
    if loc[-1] == "endpoints":
        return 'for instance endpoints = ["127.0.0.1:9001"]'
    if loc[-1] == "bind":
        return 'for instance bind = [":8080"]'
    if loc[-1] == "as":
        return 'write as = "weight" or as = "load"'
    return None


def unknown_key(root: type[BaseModel], loc: KeyPath) -> tuple[str, str | None]:
    key = str(loc[-1])
    models = list(models_along(root, loc))
    owner = models[-1]
    for depth in reversed(range(len(models) - 1)):
        model = models[depth]
        if model is None or key not in keys_of(model):
            continue
        if depth == 0:
            slipped = "a top-level key that has slipped under a table"
            return slipped, "move it to the top of the file, above the first [table]"
        table = ".".join(str(step) for step in loc[:depth])
        return f"this key belongs to [{table}]", f"move it under [{table}], above its first [{table}.…]"
    if owner is ConfigFile and key in keys_of(Pool):
        return (
            "this key belongs to a pool",
            f"the short form has none: write [pools.{SHORT_POOL}] with {key} in it",
        )
    if near := nearest_key(root, loc):
        return "unknown key", f'did you mean "{near}"?'
    known = list(keys_of(Config if owner is ConfigFile else owner)) if owner else []
    return "unknown key", "known here: " + ", ".join(known) if known else None


def nearest_key(root: type[BaseModel], loc: KeyPath) -> str | None:
    owner = list(models_along(root, loc))[-1]
    return nearest(str(loc[-1]), keys_of(owner)) if owner else None


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that they have in a file, of which Python keeps some for itself."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def models_along(root: type[BaseModel], loc: KeyPath) -> Iterator[type[BaseModel] | None]:
    """The model at each depth of `loc`, from the whole file to the table that holds the last key."""
    yield from (model_of(annotation) for annotation in annotations_along(root, loc))


def annotations_along(root: type[BaseModel], loc: KeyPath) -> Iterator[Any]:
    annotation: Any = root
    yield annotation
    for step in loc[:-1]:
        annotation = inside(annotation, step)
        yield annotation


def inside(annotation: Any, step: str | int) -> Any:
    model = model_of(annotation)
    if model is not None:
        field = keys_of(model).get(str(step))
        return field.annotation if field else None
    for variant in models_in(annotation):
        if step in tags_of(variant):
            return variant
    for bare in alternatives(annotation):
        if get_origin(bare) in (dict, tuple):
            return get_args(bare)[1 if get_origin(bare) is dict else 0]
    return None


def alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from alternatives(one)
    else:
        yield annotation


def models_in(annotation: Any) -> list[type[BaseModel]]:
    return [
        bare
        for bare in alternatives(annotation)
        if isinstance(bare, type) and get_origin(bare) is None and issubclass(bare, BaseModel)
    ]


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The one model; None where the table's kind decides which of several it is."""
    models = models_in(annotation)
    return models[0] if len(models) == 1 else None


def tags_of(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get(TAG)
    return get_args(field.annotation) if field else ()
