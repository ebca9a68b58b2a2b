"""A column type that migrations write as PostgreSQL calls it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.types import UserDefinedType


class SQLType(UserDefinedType[Any]):
    """A type by its name in SQL, like ``SQLType("vector(3)")``: for what SQLAlchemy has no type of its own."""

    cache_ok: bool | None = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """The name."""
        return self.name
