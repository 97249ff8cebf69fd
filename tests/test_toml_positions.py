"""Every key and item of a TOML text has a place, counted from 1 in lines and characters."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard import _core
from steelyard.config.show import key_of, value_of


def places(text: str) -> dict[tuple[str | int, ...], tuple[int, int]]:
    return {tuple(path): (line, column) for path, line, column in _core.toml_positions(text)}


def test_keys_tables_and_items_stand_where_they_are_written() -> None:
    text = """\
a = 1
"é" = "x"
b.c = [1, { d = 2 }, [3]]
[t.u]
  v = 1
[[r]]
x = 1
[[r]]
x = 2
[r.sub]
"""
    assert places(text) == {
        ("a",): (1, 1),
        ("é",): (2, 1),
        ("b",): (3, 1),
        ("b", "c"): (3, 3),
        ("b", "c", 0): (3, 8),
        ("b", "c", 1): (3, 11),
        ("b", "c", 1, "d"): (3, 13),
        ("b", "c", 2): (3, 22),
        ("b", "c", 2, 0): (3, 23),
        ("t",): (4, 2),
        ("t", "u"): (4, 4),
        ("t", "u", "v"): (5, 3),
        ("r",): (6, 3),
        ("r", 0): (6, 1),
        ("r", 0, "x"): (7, 1),
        ("r", 1): (8, 1),
        ("r", 1, "x"): (9, 1),
        ("r", 1, "sub"): (10, 4),
    }


def test_columns_count_characters_and_not_bytes() -> None:
    assert places('x = { "ü" = 1, y = 2 }')[("x", "y")] == (1, 16)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\na = 2\n", (2, 1)),
        ("[x\n", (1, 3)),
        ('a = 1\nb = "open', (2, 10)),
        ("[a]\n[a]\n", (2, 2)),
        ("x = [1,\n 2", (2, 3)),
    ],
)
def test_what_is_no_toml_is_refused_with_its_place(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(_core.TomlError) as caught:
        _core.toml_positions(text)
    message, line, column = caught.value.args
    assert (line, column) == place
    assert message == message.strip()
    assert "\n" not in message


def test_nesting_is_bounded() -> None:
    with pytest.raises(_core.TomlError):
        _core.toml_positions("x = " + "[" * 10_000)


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=5)
VALUES = st.recursive(
    st.integers(0, 9) | st.booleans() | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} | {found for key, one in inner for found in paths(one, (*path, key))}


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_exactly_the_keys_that_python_reads_have_a_place(data: dict[str, Any]) -> None:
    text = "".join(f"{key_of(key)} = {value_of(value)}\n" for key, value in data.items())
    assert tomllib.loads(text) == data
    assert set(places(text)) == paths(data) - {()}
