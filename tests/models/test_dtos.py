from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
import pytest

from tests.models.every_type import MODEL
from tests.models.projects import registry_of
from timber.dto import DTO, InputDTO
from timber.models import ModelRegistry

INVOICE = """
models:
  - name: Invoice
    table: invoices
    comment: What somebody has to pay.
    mixins: [Owner, Version, Timestamps, SoftDelete, Actor]
    columns:
      - {name: number, type: Integer, nullable: false, comment: Its number.}
      - {name: status, type: "Enum[open, paid]", nullable: false, default: open}
      - {name: note, type: String(100)}
      - {name: metadata, type: JSONB, nullable: false, default: {tags: []}}
      - {name: issued_at, type: DateTime, nullable: false, default: now}
      - {name: slug, type: Text, nullable: false, server_default: "gen_random_uuid()::text"}
      - {name: label, type: Text, generated: "note || '!'"}
      - {name: internal, type: Text, hidden: true}
"""


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return registry_of(tmp_path, INVOICE)


def test_they_are_called_after_the_model_and_stay_the_same_class(registry: ModelRegistry) -> None:
    create, update, read = (
        registry.create_dto("Invoice"),
        registry.update_dto("Invoice"),
        registry.read_dto("Invoice"),
    )
    assert [dto.__name__ for dto in (create, update, read)] == [
        "InvoiceCreate",
        "InvoiceUpdate",
        "InvoiceRead",
    ]
    assert registry.create_dto("Invoice") is create
    assert issubclass(create, InputDTO)
    assert issubclass(update, InputDTO)
    assert issubclass(read, DTO)


def test_an_insert_takes_what_a_caller_may_set(registry: ModelRegistry) -> None:
    fields = registry.create_dto("Invoice").model_fields
    assert set(fields) == {
        "id",
        "user_id",
        "number",
        "status",
        "note",
        "metadata",
        "issued_at",
        "slug",
    }
    assert {name for name, field in fields.items() if field.is_required()} == {"user_id", "number"}


def test_an_update_takes_neither_the_key_nor_the_owner(registry: ModelRegistry) -> None:
    fields = registry.update_dto("Invoice").model_fields
    assert set(fields) == {"number", "status", "note", "metadata", "issued_at", "slug"}
    assert not any(field.is_required() for field in fields.values())


def test_a_row_shows_every_column_but_the_hidden_ones(registry: ModelRegistry) -> None:
    config = registry.model_config("Invoice")
    expected = set(config.column_names) - {"internal", "version_token"}
    assert set(registry.read_dto("Invoice").model_fields) == expected


def test_what_was_left_out_is_known(registry: ModelRegistry) -> None:
    create = registry.create_dto("Invoice")
    given = create.model_validate({"user_id": "u", "number": 1})
    assert given.model_fields_set == {"user_id", "number"}
    assert given.status == "open"  # type: ignore[attr-defined]
    change = registry.update_dto("Invoice").model_validate({"note": None})
    assert change.model_dump(exclude_unset=True) == {"note": None}


@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        ("create", {"user_id": "u", "number": 1, "total": 5}, "total"),
        (
            "create",
            {"user_id": "u", "number": 1, "created_at": "2024-01-01T00:00:00Z"},
            "created_at",
        ),
        ("create", {"user_id": "u", "number": 1, "label": "x"}, "label"),
        ("create", {"user_id": "u", "number": 1, "internal": "x"}, "internal"),
        ("create", {"user_id": "u", "number": 1, "id": None}, "id"),
        ("create", {"user_id": "u", "number": 1, "metadata": None}, "metadata"),
        ("create", {"user_id": "u", "number": "1"}, "number"),
        ("create", {"user_id": "u"}, "number"),
        ("update", {"number": None}, "number"),
        ("update", {"status": "closed"}, "status"),
        ("update", {"id": str(UUID(int=1))}, "id"),
        ("update", {"user_id": "u"}, "user_id"),
        ("update", {"note": "x" * 101}, "note"),
        ("update", {"version": 5}, "version"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    registry: ModelRegistry, kind: str, values: dict[str, Any], field: str
) -> None:
    dto: type[InputDTO] = getattr(registry, f"{kind}_dto")("Invoice")
    with pytest.raises(pydantic.ValidationError) as caught:
        dto.model_validate(values)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_a_default_is_not_shared_between_inputs(registry: ModelRegistry) -> None:
    create: Any = registry.create_dto("Invoice")
    one, other = create(user_id="u", number=1), create(user_id="u", number=2)
    one.metadata["tags"].append("changed")
    assert other.metadata == {"tags": []}


def test_descriptions_reach_openapi(registry: ModelRegistry) -> None:
    read = registry.read_dto("Invoice").model_json_schema()
    assert read["title"] == "InvoiceRead"
    assert read["description"] == "What somebody has to pay."
    assert read["properties"]["number"]["description"] == "Its number."
    create = registry.create_dto("Invoice").model_json_schema()
    assert create["properties"]["status"]["default"] == "open"
    assert create["properties"]["number"] == {
        "description": "Its number.",
        "title": "Number",
        "type": "integer",
        "minimum": -(2**31),
        "maximum": 2**31 - 1,
    }
    assert create["properties"]["note"]["anyOf"][0] == {"type": "string", "maxLength": 100}
    update = registry.update_dto("Invoice").model_json_schema()
    assert "default" not in update["properties"]["number"]
    assert "required" not in update


def test_every_type_has_a_json_schema_and_survives_json(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, MODEL)
    for dto in (
        registry.create_dto("Thing"),
        registry.update_dto("Thing"),
        registry.read_dto("Thing"),
    ):
        for mode in ("validation", "serialization"):
            json.dumps(dto.model_json_schema(mode=mode))  # type: ignore[arg-type]
    given = registry.create_dto("Thing").model_validate(
        {
            "raw": b"\xff\x00",
            "key": UUID(int=5),
            "amount": "1.5",
            "span": "PT1H",
            "day": "2024-01-01",
        }
    )
    text = given.model_dump_json(exclude_unset=True)
    assert json.loads(text)["raw"] == "/wA="
    assert registry.create_dto("Thing").model_validate_json(text) == given
    # And as a web framework does it: JSON read first, then validated.
    assert registry.create_dto("Thing").model_validate(json.loads(text)) == given


def test_a_row_is_frozen(registry: ModelRegistry) -> None:
    change = registry.update_dto("Invoice").model_validate({"note": "x"})
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        change.note = "y"  # type: ignore[attr-defined]
