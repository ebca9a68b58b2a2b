from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pydantic
import pytest

from tests.models.projects import registry_of
from timber.dto import DTO
from timber.errors import ConfigurationError
from timber.models import ModelConfig, ModelRegistry, check_dto

UserId = NewType("UserId", str)


class Priority(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


class Fitting(DTO):
    id: UUID
    user_id: UserId
    session_type: Literal["research", "trading"]
    status: Priority
    metadata: dict[str, Any]
    symbol: str | None
    version: Annotated[int, pydantic.Field(ge=1)]
    completed_at: datetime | None = None


class Event(DTO):
    to_status: str


class Nested(DTO):
    id: UUID
    events: list[Event]


class Metadata(pydantic.BaseModel):
    depth: int = 0


class Parsed(DTO):
    metadata: Metadata


class Converting(DTO):
    symbol: Annotated[str, pydantic.BeforeValidator(lambda value: value or "")]
    created_at: str

    @pydantic.field_validator("created_at", mode="before")
    @classmethod
    def _as_text(cls, value: datetime) -> str:
        return value.isoformat()


class Enriched(DTO):
    id: UUID
    score: float = 0.0


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return ModelRegistry().model_config("Session")


@pytest.mark.parametrize("dto", [Fitting, Nested, Parsed, Converting, Enriched])
def test_a_dto_that_fits_is_accepted(config: ModelConfig, dto: type[DTO]) -> None:
    check_dto(config, dto)


def test_generated_dtos_fit_their_own_models() -> None:
    registry = ModelRegistry()
    for name in registry.list_models():
        check_dto(registry.model_config(name), registry.read_dto(name))
        check_dto(registry.model_config(name), registry.create_dto(name), purpose="write")
        check_dto(registry.model_config(name), registry.update_dto(name), purpose="write")


@pytest.mark.parametrize(
    ("field", "annotation", "message"),
    [
        ("sybmol", str | None, "there is no column Session.sybmol (did you mean 'symbol'?)"),
        ("colour", str, "there is no column Session.colour"),
        ("status", int, "the column Session.status is String(32), which does not fit int"),
        ("version", str, "the column Session.version is Integer, which does not fit str"),
        ("id", str, "the column Session.id is UUID, which does not fit str"),
        (
            "created_at",
            float,
            "the column Session.created_at is DateTime, which does not fit float",
        ),
        ("metadata", Decimal, "the column Session.metadata is JSONB, which does not fit Decimal"),
        ("symbol", str, "the column Session.symbol may be NULL, so the field must accept None"),
        (
            "status",
            Literal[1, 2],
            "the column Session.status is String(32), which does not fit int",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_its_column(
    config: ModelConfig, field: str, annotation: Any, message: str
) -> None:
    dto: type[DTO] = pydantic.create_model("MyDTO", __base__=DTO, **{field: (annotation, ...)})
    with pytest.raises(ConfigurationError) as caught:
        check_dto(config, dto)
    assert str(caught.value) == f"MyDTO.{field}: {message}"


def test_a_misspelt_field_with_a_default_is_refused_too(config: ModelConfig) -> None:
    dto = pydantic.create_model("MyDTO", __base__=DTO, complete_at=(datetime | None, None))
    with pytest.raises(ConfigurationError, match="did you mean 'completed_at'"):
        check_dto(config, dto)


def test_all_misfits_are_in_one_error(config: ModelConfig) -> None:
    dto = pydantic.create_model("MyDTO", __base__=DTO, id=(int, ...), colour=(str, ...))
    with pytest.raises(ConfigurationError) as caught:
        check_dto(config, dto)
    assert len(caught.value.errors) == 2
    assert "MyDTO.id" in str(caught.value)
    assert "MyDTO.colour" in str(caught.value)


def test_an_input_cannot_set_what_postgresql_makes(config: ModelConfig) -> None:
    dto = pydantic.create_model("MyDTO", __base__=DTO, symbol=(str | None, None))
    check_dto(config, dto)
    with pytest.raises(ConfigurationError, match=r"Session.symbol is made by PostgreSQL"):
        check_dto(config, dto, purpose="write")


def test_a_dto_of_another_model_is_refused() -> None:
    registry = ModelRegistry()
    with pytest.raises(
        ConfigurationError, match="TrackerRead was made for Tracker, not for Session"
    ):
        check_dto(registry.model_config("Session"), registry.read_dto("Tracker"))


def test_a_dto_made_for_other_columns_is_refused(tmp_path: Path) -> None:
    old = ModelRegistry()
    text = "models: [{extends: Session, columns: [{name: tenant, type: Text}]}]"
    new = registry_of(tmp_path, text)
    with pytest.raises(ConfigurationError, match="SessionRead was written when Session had other"):
        check_dto(new.model_config("Session"), old.read_dto("Session"))
