"""Relationships between models and the tables that link them, as model files declare them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from timber.models.columns import Action, ColumnName, Declaration, Sequence, TableName

_CASCADES: Final = (
    "save-update",
    "merge",
    "refresh-expire",
    "expunge",
    "delete",
    "delete-orphan",
    "all",
)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_ONE_OR_MANY = BeforeValidator(_one_or_many, json_schema_input_type=str | list[str])


class RelationshipConfig(Declaration):
    """A way from this model's rows to those of another."""

    name: ColumnName
    """Its name in DTOs and on the mapped class."""
    type: Literal["one_to_many", "many_to_one", "one_to_one", "many_to_many"]
    """How many rows are on each side, this one first."""
    model: str
    """The model at its other end."""
    foreign_key: ColumnName | None = None
    """The column that refers, where more than one could."""
    secondary: str | None = None
    """The association table of a many_to_many, where more than one could be."""
    back_populates: str | None = None
    """The relationship of the other model that is this one seen from there."""
    order_by: Annotated[Sequence[str], _ONE_OR_MANY] = ()
    """Columns of the other model to order by, `-` first for descending."""
    cascade: str | None = None
    """What the ORM does to the related objects, like: all, delete-orphan."""
    comment: str | None = None
    """A description."""

    @field_validator("cascade")
    @classmethod
    def _known_cascades(cls, value: str | None) -> str | None:
        for word in (value or "all").split(","):
            if word.strip() not in _CASCADES:
                raise ValueError(
                    f"unknown cascade {word.strip()!r}; there are {', '.join(_CASCADES)}"
                )
        return value

    @model_validator(mode="after")
    def _fits_its_type(self) -> RelationshipConfig:
        if self.deletes and self.type in ("many_to_one", "many_to_many"):
            raise ValueError(f"a {self.type} does not own the other rows, so it cannot delete them")
        if self.secondary and self.type != "many_to_many":
            raise ValueError("secondary is for many_to_many")
        if self.foreign_key and self.type == "many_to_many":
            raise ValueError(
                "a many_to_many has no foreign_key of its own, but an association table"
            )
        return self

    @property
    def deletes(self) -> bool:
        """Whether the ORM deletes the related objects with this one."""
        words = {word.strip() for word in (self.cascade or "").split(",")}
        return bool(words & {"all", "delete", "delete-orphan"})

    @property
    def many(self) -> bool:
        """Whether it leads to a list."""
        return self.type in ("one_to_many", "many_to_many")


class AssociationConfig(Declaration):
    """A table that links the rows of two models many to many."""

    name: TableName
    """The name of the table."""
    left: str
    """One model."""
    right: str
    """The other model."""
    left_column: ColumnName | None = None
    """The column that refers to the left; else the model's name and _id."""
    right_column: ColumnName | None = None
    """The column that refers to the right; else the model's name and _id."""
    on_delete: Action = "cascade"
    """What happens to a link when a row at either end is deleted."""
    comment: str | None = None
    """A description."""
