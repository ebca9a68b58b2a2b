"""Column types as PostgreSQL's, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

from timber.models.column_types import LABEL_LIMIT, SEARCH_VECTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.elements import BindParameter, ColumnElement
    from sqlalchemy.types import TypeEngine

    from timber.models.column_types import ColumnType


class Vector(UserDefinedType[Sequence[float]]):
    """pgvector's type. It travels as text in one direction and as real[] in the other, which every driver knows."""

    cache_ok: bool | None = True

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in DDL."""
        return f"vector({self.dimension})"

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy passes it
        """Numbers as pgvector's text."""
        return _vector_text

    def bind_expression(self, bindvalue: BindParameter[Any]) -> ColumnElement[Any]:
        """The text, made a vector by the server."""
        return sa.cast(sa.cast(bindvalue, sa.Text), self)

    def column_expression(self, colexpr: ColumnElement[Any]) -> ColumnElement[Any]:
        """The vector as an array of numbers."""
        return sa.cast(colexpr, postgresql.ARRAY(sa.REAL))


def _vector_text(value: Sequence[float] | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"[{','.join(map(repr, map(float, value)))}]"


_PLAIN: Final[dict[str, Callable[[], TypeEngine[Any]]]] = {
    "Text": sa.Text,
    "Integer": sa.Integer,
    "BigInteger": sa.BigInteger,
    "SmallInteger": sa.SmallInteger,
    "Float": lambda: sa.Double(asdecimal=False),
    "Boolean": sa.Boolean,
    "Date": sa.Date,
    "Time": sa.Time,
    "DateTime": lambda: sa.DateTime(timezone=True),
    "Interval": postgresql.INTERVAL,
    "UUID": lambda: postgresql.UUID(as_uuid=True),
    # None is SQL's NULL; JSON's own null can only be inside a value.
    "JSON": lambda: postgresql.JSON(none_as_null=True),
    "JSONB": lambda: postgresql.JSONB(none_as_null=True),
    "Binary": postgresql.BYTEA,
    SEARCH_VECTOR: postgresql.TSVECTOR,
}


def sqlalchemy_type(column_type: ColumnType) -> TypeEngine[Any]:
    """The SQLAlchemy type of a column. An Enum is text that a check constraint holds to its labels."""
    if column_type.kind == "String":
        return sa.String(column_type.length)
    if column_type.kind == "Enum":
        return sa.String(LABEL_LIMIT)
    if column_type.kind == "Numeric":
        return sa.Numeric(column_type.precision, column_type.scale, asdecimal=True)
    if column_type.kind == "Vector":
        return Vector(column_type.length or 1)
    if column_type.item is not None:
        return postgresql.ARRAY(sqlalchemy_type(column_type.item))
    return _PLAIN[column_type.kind]()
