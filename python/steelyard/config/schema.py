"""Makes the JSON Schema of the configuration file. `python -m steelyard.config.schema` writes it anew."""

import json
from typing import Any

from steelyard.config import SCHEMA_PATH
from steelyard.config.root import ConfigFile

__all__ = ["as_toml_schema", "schema_text"]


def without_null(schema: Any, *, is_property: bool = False) -> Any:
    """The same for TOML, which has no null; and without what only repeats: titles, defaults of tables."""
    if isinstance(schema, list):
        return [without_null(one) for one in schema if one != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: without_null(one, is_property=True) for name, one in value.items()}
        if key == "properties"
        else without_null(value)
        for key, value in schema.items()
        if not (key == "default" and (value is None or isinstance(value, dict)))
        and not (key == "title" and is_property)
    }
    alternatives = kept.get("anyOf", [])
    if len(alternatives) == 1:
        del kept["anyOf"]
        kept |= alternatives[0]
    return kept


def as_toml_schema(model_schema: dict[str, Any], title: str) -> str:
    """The text of a schema file, from what pydantic says of a model."""
    schema = without_null(model_schema)
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    schema["title"] = title
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def schema_text() -> str:
    return as_toml_schema(ConfigFile.model_json_schema(), "Steelyard configuration")


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
