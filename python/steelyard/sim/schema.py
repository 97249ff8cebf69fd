"""Makes the JSON Schema of a scenario. `python -m steelyard.sim.schema` writes it anew."""

from steelyard.config.schema import as_toml_schema
from steelyard.sim import SCHEMA_PATH
from steelyard.sim.scenario import Scenario

__all__ = ["schema_text"]


def schema_text() -> str:
    return as_toml_schema(Scenario.model_json_schema(), "Steelyard scenario")


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
