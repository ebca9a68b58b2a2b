from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from tests.models.projects import registry_of
from timber.errors import ConfigurationError
from timber.models import ModelRegistry
from timber.models.declarative import Owner, SoftDelete, Timestamps, Version


class Base(DeclarativeBase):
    pass


labels = sa.Table(
    "bill_labels",
    Base.metadata,
    sa.Column("bill_id", sa.ForeignKey("bills.id"), primary_key=True),
    sa.Column("label_id", sa.ForeignKey("labels.id"), primary_key=True),
)


class Bill(Owner, Version, Timestamps, SoftDelete, Base):
    __tablename__ = "bills"
    __timber__ = {"comment": "A bill.", "features": {"audit": True}}  # noqa: RUF012

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    amount: Mapped[Decimal] = mapped_column(sa.Numeric(12, 2))
    state: Mapped[str] = mapped_column(sa.String(20), default="open")
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", postgresql.JSONB, default=dict)
    words: Mapped[list[str] | None] = mapped_column(postgresql.ARRAY(sa.Text))
    due: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    session_id: Mapped[UUID | None] = mapped_column(
        sa.Uuid, sa.ForeignKey("sessions.id", ondelete="SET NULL")
    )
    rows: Mapped[list[BillRow]] = relationship(
        back_populates="bill", order_by="BillRow.position.desc()"
    )
    labels: Mapped[list[Label]] = relationship(secondary=labels)


class BillRow(Base):
    __tablename__ = "bill_rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    bill_id: Mapped[UUID] = mapped_column(sa.ForeignKey("bills.id", ondelete="CASCADE"))
    position: Mapped[int]
    bill: Mapped[Bill] = relationship(back_populates="rows")


class Label(Base):
    __tablename__ = "labels"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    text: Mapped[str]


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry(classes=[Bill, BillRow, Label])


def test_a_mapped_class_becomes_a_model_with_a_configuration(registry: ModelRegistry) -> None:
    assert registry.get_model("Bill") is Bill
    config = registry.model_config("Bill")
    assert registry.get_model("Bill").__model_config__ is config
    assert {column.name: str(column.type) for column in config.columns if not column.hidden} == {
        "id": "UUID",
        "amount": "Numeric(12, 2)",
        "state": "String(20)",
        "metadata": "JSONB",
        "words": "Array[Text]",
        "due": "DateTime",
        "session_id": "UUID",
        "user_id": "String(255)",
        "version": "Integer",
        "created_at": "DateTime",
        "updated_at": "DateTime",
        "deleted_at": "DateTime",
    }
    assert (config.owner, config.versioned, config.soft_delete) == ("user_id", True, True)
    assert config.features.declared == ("audit",)
    assert config.comment == "A bill."


def test_its_defaults_are_the_models(registry: ModelRegistry) -> None:
    config = registry.model_config("Bill")
    makers = {
        column.name: column.default.maker(lambda: datetime.now(UTC))
        for column in config.columns
        if column.default
    }
    assert isinstance(makers["id"](), UUID)
    assert makers["state"]() == "open"
    assert makers["metadata"]() == {}
    assert makers["metadata"]() is not makers["metadata"]()


def test_its_dtos_are_those_of_a_model_in_yaml(registry: ModelRegistry) -> None:
    create = registry.create_dto("Bill")
    given = create(user_id="u-1", amount="12.50")  # type: ignore[call-arg]
    assert given.model_dump(exclude_unset=True) == {"user_id": "u-1", "amount": Decimal("12.50")}
    assert "metadata" in registry.read_dto("Bill").model_fields
    assert registry.model_config("BillRow").column("id").identity
    assert "id" not in registry.create_dto("BillRow").model_fields


def test_its_relationships_are_those_of_a_model_in_yaml(registry: ModelRegistry) -> None:
    rows = registry.relation("Bill", "rows")
    bill = registry.relation("BillRow", "bill")
    linked = registry.relation("Bill", "labels")
    assert rows is not None
    assert bill is not None
    assert linked is not None
    assert linked.link is not None
    assert (rows.local, rows.remote, rows.many, rows.order_by) == (
        "id",
        "bill_id",
        True,
        (("position", True),),
    )
    assert (bill.local, bill.remote, bill.outward) == ("bill_id", "id", True)
    assert (linked.link.table, linked.link.near, linked.link.far) == (
        "bill_labels",
        "bill_id",
        "label_id",
    )


def test_its_table_is_among_the_registrys_and_refers_to_built_in_ones(
    registry: ModelRegistry,
) -> None:
    assert registry.table("Bill") is Bill.__table__
    copied = registry.metadata.tables["bills"]
    assert copied is not Bill.__table__
    assert {key.column.table.name for key in copied.foreign_keys} == {"sessions"}
    assert "bill_labels" in registry.metadata.tables


def test_one_class_can_be_in_two_registries(registry: ModelRegistry) -> None:
    other = ModelRegistry(classes=[Bill, BillRow, Label])
    assert other.model_config("Bill") == registry.model_config("Bill")
    assert other.fingerprint("Bill") == registry.fingerprint("Bill")


class Other(DeclarativeBase):
    pass


class Naive(Other):
    __tablename__ = "naive"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class Pair(Other):
    __tablename__ = "pairs"
    one: Mapped[int] = mapped_column(primary_key=True)
    two: Mapped[int] = mapped_column(primary_key=True)


class Misspelt(Other):
    __tablename__ = "misspelt"
    __timber__ = {"featurs": {}}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)


class Touched(Other):
    __tablename__ = "touched"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(onupdate=lambda: 1)


class Untyped(Other):
    __tablename__ = "untyped"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(sa.ForeignKey("sessions.id"))


class Unsearchable(Other):
    __tablename__ = "unsearchable"
    __timber__ = {"features": {"search": {"weights": {"text": "A"}}}}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Searchable(Other):
    __tablename__ = "searchable"
    __timber__ = Unsearchable.__timber__
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    search_vector: Mapped[Any] = mapped_column(
        postgresql.TSVECTOR, sa.Computed("to_tsvector('simple', text)", persisted=True)
    )


def test_a_class_that_is_searched_brings_its_own_column() -> None:
    registry = ModelRegistry(classes=[Searchable], built_in=False)
    assert registry.model_config("Searchable").column("search_vector").hidden
    assert registry.functions() == ()
    assert set(registry.read_dto("Searchable").model_fields) == {"id", "text"}


def test_a_mapped_class_is_not_extended_from_outside(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="2:20: Bill is a mapped class"):
        registry_of(tmp_path, "models: [{extends: Bill}]", classes=[Bill, BillRow, Label])


class Odd(Other):
    __tablename__ = "odd"
    id: Mapped[int] = mapped_column(primary_key=True)
    range: Mapped[Any] = mapped_column(postgresql.INT4RANGE)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (str, "str is not a class mapped to a table"),
        (Naive, "Naive.at is a DateTime without time zone; say timezone=True"),
        (Pair, "Pair: Pair has two primary keys, one and two"),
        (Misspelt, "Misspelt: unknown key 'featurs' in __timber__"),
        (Touched, "Touched.at: onupdate runs in SQLAlchemy's ORM only"),
        (Untyped, "Untyped.session_id has no type of its own"),
        (Unsearchable, "Unsearchable: search needs a column search_vector of type TSVECTOR"),
        (Odd, "Odd.range: Timber has no column type for INT4RANGE"),
    ],
)
def test_a_class_that_cannot_be_a_model_is_refused_by_name(cls: type, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(classes=[cls])
    assert str(caught.value).startswith(message)
