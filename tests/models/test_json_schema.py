from __future__ import annotations

import json
from typing import Any

from timber.models import json_schema
from timber.models.column_types import PLAIN_KINDS


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_schema()["$defs"][name]
    return found


def test_it_is_json_and_says_what_it_is() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == {"version", "depends_on", "models", "association_tables"}
    assert schema["required"] == ["version"]


def test_no_mapping_takes_unknown_keys() -> None:
    for name, found in json_schema()["$defs"].items():
        if found.get("type") == "object":
            assert found["additionalProperties"] is False, name


def test_every_key_is_described_for_completion() -> None:
    for name, found in json_schema()["$defs"].items():
        for key, about in found.get("properties", {}).items():
            assert about.get("description"), f"{name}.{key}"


def test_the_types_of_columns_are_completed() -> None:
    types = definition("ColumnConfig")["properties"]["type"]
    assert types["anyOf"][0]["enum"] == list(PLAIN_KINDS)


def test_short_forms_are_allowed() -> None:
    column = definition("ColumnConfig")["properties"]
    assert {"type": "string"} in column["foreign_key"]["anyOf"]
    index = definition("IndexConfig")["properties"]["columns"]
    assert {"type": "string"} in index["items"]["anyOf"]
    features = definition("FeaturesConfig")["properties"]
    assert {"const": True, "type": "boolean"} in features["audit"]["anyOf"]
    assert {"type": "boolean"} in features["cache"]["anyOf"]
