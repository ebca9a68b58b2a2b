"""What a feature is: hooks around the rows of one model, made by a provider that one Timber has.

A feature of one's own is a :class:`FeatureProvider` in a file and a line of settings: ``features=["shop.masking:Masking"]``.
A model declares it under ``features: {custom: {masking: {...}}}``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import sqlalchemy as sa

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.background import BackgroundWork
    from timber.models.columns import ColumnConfig
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry

Row = dict[str, Any]
Verb = Literal["insert", "update", "delete"]


@dataclass(slots=True)
class Write:
    """A batch of rows of one model on their way in; one row is a batch of one.

    Hooks change ``rows`` in place.

    Attributes:
        verb: what is done; soft deletions and restorations are updates of ``deleted_at``, and changes of many-to-many
            links are updates of the relationship's name, beside which only ``companions`` and ``after_write`` are called,
            as they are for the claims of leases.
        rows: of an insert the complete rows, of an update the changes of each row, of a deletion empty.
        keys: the keys of the rows in order; None of an insert whose keys PostgreSQL makes, and of an update or a deletion
            of all rows that meet filters, where ``written`` alone knows the keys and ``rows`` has the changes of all once.
        current: of an update for which a feature asked with ``needs_current``: the rows as they are, locked, with the
            columns asked for, already passed through ``after_query``.
        single: whether the caller gave one row, so that an error names ``title`` and not ``3.title``.
        notes: what a feature keeps from one of its hooks to the next, by its name.
    """

    verb: Verb
    rows: list[Row]
    keys: list[Any] | None
    current: list[Row] | None = None
    single: bool = True
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Companion:
    """One more INSERT, UPDATE or DELETE that goes with a write, in the same statement.

    Attributes:
        sql: its text. ``written`` is a table with the columns ``needs`` of the rows that were written, and no others;
            ``{0}``, ``{1}``, ... stand for the arguments; other braces are doubled. The text is the same for all writes
            of one shape, since statements are kept by it: what differs goes into ``args``.
        args: the arguments, as the driver takes them. Each placeholder is to be cast: ``{0}::uuid[]``.
        needs: columns of the model's table that the text reads from ``written``.
    """

    sql: str
    args: tuple[Any, ...] = ()
    needs: tuple[str, ...] = ()


class Feature:
    """What one feature does to the rows of one model. What is not overridden costs nothing.

    Attributes:
        transformed: columns that are stored as something else than their value (ciphertext).
        support: columns that are read beside a transformed one because ``after_query`` needs them; the key always is.
    """

    transformed: frozenset[str] = frozenset()
    support: frozenset[str] = frozenset()

    def needs_current(self, changed: Collection[str], merged: Collection[str]) -> Collection[str]:
        """The columns of the row as it is that an update of these columns needs; none where the changes are enough.

        Args:
            changed: the names of the columns to change.
            merged: those of them whose new keys are merged into a stored JSON object.
        """
        raise NotImplementedError

    async def before_insert(self, write: Write) -> None:
        """Check and shape new rows.

        Raises:
            ValidationError: naming every field of every row that does not fit.
        """
        raise NotImplementedError

    async def before_update(self, write: Write) -> None:
        """Check and shape changes."""
        raise NotImplementedError

    async def before_delete(self, write: Write) -> None:
        """Refuse a deletion, by raising; of a soft one the write is an update of ``deleted_at``."""
        raise NotImplementedError

    def companions(self, write: Write) -> Sequence[Companion]:
        """What is to be written beside the rows, in the same statement; called after the ``before_`` hooks."""
        raise NotImplementedError

    async def after_write(self, write: Write) -> None:
        """What else is to happen in the same transaction, when the rows are written.

        A model with such a feature has a transaction for every write: use ``companions`` where that is enough.
        """
        raise NotImplementedError

    async def after_query(self, rows: Sequence[Row]) -> None:
        """Turn stored values of ``transformed`` columns back, in place.

        Args:
            rows: the columns that were read, by their names; always with the key and ``support`` where a transformed
                column is among them.
        """
        raise NotImplementedError

    def stored_forms(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]] | None:
        """How rows with one of these values of a transformed column are found: another column, and what it may hold.

        None if they cannot be found by that column's value.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FeatureModel:
    """The model that a feature is made for."""

    config: ModelConfig
    table: sa.Table
    db: AsyncDatabaseManager


class FeatureProvider:
    """A feature for all models of one Timber that declare it.

    Attributes:
        name: what a model declares it as.
        after: the features that see a row before this one does on its way in; on the way out the order is reversed.
        last: whether all others see a row before this one does, but those that ask to come after it.
    """

    name: ClassVar[str]
    after: ClassVar[frozenset[str]] = frozenset()
    last: ClassVar[bool] = False

    def on_model(self, config: ModelConfig) -> Sequence[ColumnConfig]:  # noqa: ARG002  # for those who override it
        """Hidden columns that a model which declares this feature gets."""
        return ()

    def feature(self, model: FeatureModel) -> Feature | None:
        """What it does to the rows of a model that declares it; None if that is nothing.

        Raises:
            ConfigurationError: the declaration does not fit, or something that it needs is not provided.
        """
        raise NotImplementedError

    async def start(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        """Begin, when the database can be reached."""

    def background(self) -> Sequence[BackgroundWork]:
        """What is to be done beside requests, by ``timber worker`` or inside the application; asked for after :meth:`start`."""
        return ()

    async def close(self) -> None:
        """End."""


def declaration(config: ModelConfig, name: str) -> Any:
    """What a model declares for a feature, built-in or custom; None if it does not."""
    custom: Mapping[str, Any] = config.features.custom
    return custom[name] if name in custom else getattr(config.features, name, None)
