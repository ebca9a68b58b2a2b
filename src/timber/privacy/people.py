"""The person that an export or an erasure is about, as the columns of models know them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pydantic

from timber.errors import ValidationError
from timber.models.column_types import INTEGER_KINDS
from timber.models.values import column_adapter

if TYPE_CHECKING:
    from timber.models.config import ModelConfig

UserId = str | int | UUID


class Person:
    """Somebody, by the id that the application knows them by.

    Raises:
        ValidationError: that is no id.
    """

    __slots__ = ("text",)

    def __init__(self, user_id: UserId) -> None:
        if isinstance(user_id, bool) or not isinstance(user_id, str | int | UUID):
            raise ValidationError.of("user_id", "is to be text, a whole number or a UUID")
        self.text: str = str(user_id)
        if not self.text.strip() or "\0" in self.text:
            raise ValidationError.of("user_id", "is empty, or no text that PostgreSQL can hold")

    def __repr__(self) -> str:
        return "<Person>"  # an id may be a name or an address: it does not belong into a log

    def in_column(self, config: ModelConfig, column: str) -> Any:
        """The id as a column holds it; None if it can hold no such id, and so no row of this person."""
        declared = config.column(column)
        value: Any = self.text
        if declared.type.kind in INTEGER_KINDS:
            try:
                value = int(self.text)
            except ValueError:
                return None
        try:
            return column_adapter(declared).validate_python(value)
        except pydantic.ValidationError:
            return None
