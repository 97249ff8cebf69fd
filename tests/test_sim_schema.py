"""The JSON Schema of a scenario, which editors use, is the one that the models give."""

import json

from steelyard import sim
from steelyard.config import POLICIES
from steelyard.sim.scenario import FAULTS
from steelyard.sim.schema import schema_text


def test_the_schema_is_current() -> None:
    remedy = "run: python -m steelyard.sim.schema"
    assert sim.SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), remedy


def test_the_schema_offers_kinds_faults_and_policies() -> None:
    text = schema_text()
    schema = json.loads(text)
    assert set(schema["properties"]["arrivals"]["discriminator"]["mapping"]) == {
        "poisson", "deterministic", "on_off", "profile", "trace",
    }  # fmt: skip
    assert schema["$defs"]["Fault"]["properties"]["kind"]["enum"] == list(FAULTS)
    assert all(f'"{name}"' in text for name in POLICIES)
    assert "null" not in text


def test_every_key_says_what_it_is() -> None:
    schema = json.loads(schema_text())
    for name, definition in {"Scenario": schema, **schema["$defs"]}.items():
        for key, one in definition.get("properties", {}).items():
            described = "description" in one or "$ref" in one
            assert described, f"{name}.{key} has no description"
