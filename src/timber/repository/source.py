"""One model's table as the repository sees it: the names of its columns, and values held against their types."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pydantic

from timber.dto import encode_json
from timber.errors import ConfigurationError, UsageError, ValidationError
from timber.models.column_types import SEARCH_VECTOR, nearest
from timber.models.values import column_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import sqlalchemy as sa

    from timber.features.orchestrator import FeatureOrchestrator
    from timber.models.config import ColumnConfig, ModelConfig


class Source:
    """The table of one model.

    Args:
        model: a mapped class out of a registry.
        clock: gives the current time for created_at and its like.
        features: what happens to the model's rows, if anything does.

    Raises:
        ConfigurationError: the class is not one of a registry.
    """

    def __init__(
        self,
        model: type[Any],
        clock: Callable[[], datetime],
        features: FeatureOrchestrator | None = None,
    ) -> None:
        config: ModelConfig | None = getattr(model, "__model_config__", None)
        if config is None:
            raise ConfigurationError(
                f"{model.__name__} is not a model of a registry: pass what registry.get_model() gives."
            )
        self.config = config
        self.name: str = config.name
        self.table: sa.Table = model.__table__
        self.key: str = config.primary_key
        self.clock = clock
        # A search column is PostgreSQL's own: it is neither written, read nor compared.
        self.columns: dict[str, ColumnConfig] = {
            c.name: c for c in config.columns if c.type.kind != SEARCH_VECTOR
        }
        self._checks: dict[str, Callable[[Any], Any]] = {
            name: column_adapter(column).validate_python for name, column in self.columns.items()
        }
        self._live = config.soft_delete
        self._features = features
        self.transformed: frozenset[str] = (
            features.transformed if features is not None else frozenset()
        )
        """Columns that are stored as something else than their value."""
        self.kept: frozenset[str] = features.kept if features is not None else frozenset()
        """Hidden columns that only features write."""
        self.orders: dict[Any, Any] = {}
        """Orders that have been asked for, so that each is checked once."""

    def column(self, name: object, field: str | None = None) -> ColumnConfig:
        """The column of this name.

        Args:
            field: the argument to blame for an unknown one, else the name itself.

        Raises:
            ValidationError: there is none.
        """
        column = self.columns.get(name) if isinstance(name, str) else None
        if column is not None:
            return column
        word = name if isinstance(name, str) and len(name) <= _LONGEST_NAME else _brief(name)
        stem, operator, _ = word.partition("__")
        if operator and stem in self.columns:
            hint = f"; compare with `repository.where.{stem}`, as in where.{stem}.in_([...])"
        else:
            hint = nearest(word, self.columns)
        raise ValidationError.of(field or word, f"{word!r} is not a column of {self.name}{hint}")

    def check(self, name: str, value: object) -> Any:
        """The value as the driver takes it for this column.

        Raises:
            ValidationError: it does not fit.
        """
        try:
            return self._checks[name](value)
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error).at(name) from None

    def plain_column(self, name: object, what: str, field: str | None = None) -> ColumnConfig:
        """A column that PostgreSQL can read, for what it is asked to do with it.

        Raises:
            ValidationError: there is none, or it is stored in another form.
        """
        column = self.column(name, field)
        if column.name in self.transformed:
            raise ValidationError.of(
                field or column.name,
                f"{column.name} is encrypted, so that PostgreSQL cannot {what} by it",
            )
        return column

    def stored_forms(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """How rows with one of these values of a transformed column are found: another column, and what it may hold.

        Raises:
            ValidationError: they cannot be found.
        """
        found = self._features.stored_forms(column, values) if self._features else None
        if found is None:
            raise ValidationError.of(
                column,
                "is encrypted, so that PostgreSQL cannot look for its value; declare it under `searchable` to compare it with "
                "==, != and in_()",
            )
        return found

    def check_key(self, value: object) -> Any:
        """The key of a row; a UUID may be given as text."""
        if value is None:
            raise ValidationError.of(self.key, "is missing")
        return self.check(self.key, value)

    def check_json(self, name: str, value: object) -> Any:
        """A JSON value, checked here so that the error names the field."""
        encode_json(value, name)
        return value

    def check_owner(self, owner: object) -> Any:
        """An owner to narrow by."""
        return self.check(self.owner_column(), owner)

    def owner_column(self) -> str:
        """The column with the owner of a row.

        Raises:
            UsageError: the model has none.
        """
        if self.config.owner is None:
            raise UsageError(f"{self.name} has no owner column: `owner` cannot narrow its rows.")
        return self.config.owner

    def hides_deleted(self, include_deleted: bool) -> bool:  # noqa: FBT001  # handed on as it came
        """Whether soft-deleted rows are to be left out."""
        return self._live and (
            include_deleted is False or not check_flag("include_deleted", include_deleted)
        )


def listed(items: object, field: str = "items") -> Iterable[Any]:
    """What is to be a list of rows or keys.

    Raises:
        ValidationError: it is something else.
    """
    if isinstance(items, str | bytes | Mapping | pydantic.BaseModel) or not isinstance(
        items, Iterable
    ):
        raise ValidationError.of(field, "takes a list")
    return items


def check_names(names: object, field: str) -> tuple[str, ...]:
    """The names that an argument gives: one, or a list of them.

    Raises:
        ValidationError: it is something else.
    """
    if isinstance(names, str):
        return (names,)
    if isinstance(names, bytes | Mapping) or not isinstance(names, Iterable):
        raise ValidationError.of(field, "takes the name of a column, or a list of them")
    return tuple(names)


def check_flag(name: str, value: object) -> bool:
    """True or false, and nothing that merely counts as one: the text "no" would be true.

    Raises:
        ValidationError: it is something else.
    """
    if value is True or value is False:
        return value
    raise ValidationError.of(name, "is to be true or false")


def check_text(name: str, value: object) -> str:
    """Text that PostgreSQL can take.

    Raises:
        ValidationError: it is something else, or holds a NUL or half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise ValidationError.of(name, "expected text")
    if "\0" in value:
        raise ValidationError.of(name, "holds a NUL character, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValidationError.of(
            name, "holds half of a surrogate pair, which is not text"
        ) from None
    return value


_LONGEST_NAME: Final = 200


def _brief(name: object) -> str:
    """A name that is none, as far as a message has room for it."""
    try:
        return reprlib.repr(name)
    except (RecursionError, ValueError):  # a number of thousands of digits is not shown at all
        return f"a {type(name).__name__}"
