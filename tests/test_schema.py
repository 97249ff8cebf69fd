"""The JSON Schema that editors use is the one the models give."""

import json
from typing import Any

from steelyard.config import POLICIES, SCHEMA_PATH
from steelyard.config.schema import schema_text


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return loaded


def test_the_schema_is_current() -> None:
    remedy = "run: python -m steelyard.config.schema"
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), remedy


def test_the_schema_offers_both_forms_and_the_policies() -> None:
    top = schema()["properties"]
    assert {"listen", "endpoints", "health", "policy", "listeners", "pools", "routes"} <= set(top)
    assert list(POLICIES) in [one.get("enum") for one in top["policy"]["anyOf"]]


def test_the_schema_knows_no_null_since_toml_has_none() -> None:
    assert "null" not in SCHEMA_PATH.read_text(encoding="utf-8")


def test_every_key_says_what_it_is() -> None:
    for name, definition in schema()["$defs"].items():
        for key, one in definition.get("properties", {}).items():
            described = "description" in one or "$ref" in one
            assert described, f"{name}.{key} has no description"
