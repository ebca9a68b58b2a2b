"""All features of one model in their order: made once, asked by the repository on every path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.features.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from timber.features.feature import Companion, Row, Write

_HOOKS = (
    *("before_insert", "before_update", "before_delete", "needs_current"),
    *("companions", "after_write", "after_query", "stored_forms"),
)


class FeatureOrchestrator:
    """Runs the features of one model.

    Args:
        features: by their names, in the order in which rows go in.
        kept: hidden columns that features write and callers may not.

    Attributes:
        transformed: columns that are stored as something else than their value.
        support: columns that are read beside a transformed one.
        kept: hidden columns that features write.
        has_after_write: whether a write needs a transaction, for what is done after it.
    """

    def __init__(self, features: Mapping[str, Feature], kept: Collection[str] = ()) -> None:
        self._features = dict(features)
        # What a feature leaves alone is never called.
        self._hooked: dict[str, tuple[Feature, ...]] = {
            hook: tuple(f for f in features.values() if _overrides(f, hook)) for hook in _HOOKS
        }
        self._after_query = tuple(reversed(self._hooked["after_query"]))
        self.transformed: frozenset[str] = frozenset[str]().union(
            *(f.transformed for f in features.values())
        )
        self.support: frozenset[str] = frozenset[str]().union(
            *(f.support for f in features.values())
        )
        self.kept: frozenset[str] = frozenset(kept)
        self.has_after_write: bool = bool(self._hooked["after_write"])
        self.has_companions: bool = bool(self._hooked["companions"])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features in their order."""
        return tuple(self._features)

    def feature(self, name: str) -> Feature | None:
        """The feature of this name, if the model has it."""
        return self._features.get(name)

    def needs_current(self, changed: Collection[str], merged: Collection[str]) -> frozenset[str]:
        """The columns of the row as it is that an update needs, locked, before it is sent."""
        needed = set(self.transformed.intersection(merged))
        for feature in self._hooked["needs_current"]:
            needed.update(feature.needs_current(changed, merged))
        return frozenset(needed)

    def decodes(self, columns: Collection[str]) -> bool:
        """Whether rows with these columns have to pass :meth:`after_query`."""
        return any(
            not feature.transformed or not feature.transformed.isdisjoint(columns)
            for feature in self._after_query
        )

    async def before_insert(self, write: Write) -> None:
        """Check and shape new rows.

        Raises:
            ValidationError: naming every field of every row that does not fit.
        """
        for feature in self._hooked["before_insert"]:
            await feature.before_insert(write)

    async def before_update(self, write: Write) -> None:
        """Check and shape changes.

        Raises:
            ValidationError: naming every field that does not fit.
        """
        for feature in self._hooked["before_update"]:
            await feature.before_update(write)

    async def before_delete(self, write: Write) -> None:
        """Ask whether rows may be deleted."""
        for feature in self._hooked["before_delete"]:
            await feature.before_delete(write)

    def companions(self, write: Write) -> list[Companion]:
        """What is written beside the rows, in the same statement."""
        return [c for feature in self._hooked["companions"] for c in feature.companions(write)]

    async def after_write(self, write: Write) -> None:
        """What is done in the same transaction when the rows are written."""
        for feature in self._hooked["after_write"]:
            await feature.after_write(write)

    async def after_query(self, rows: Sequence[Row]) -> None:
        """Turn stored values back, in place; the last feature on the way in is the first on the way out."""
        for feature in self._after_query:
            await feature.after_query(rows)

    def stored_forms(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]] | None:
        """How rows with one of these values of a transformed column are found, if they can be."""
        for feature in self._hooked["stored_forms"]:
            if column in feature.transformed:
                return feature.stored_forms(column, values)
        return None


def _overrides(feature: Feature, hook: str) -> bool:
    return getattr(type(feature), hook) is not getattr(Feature, hook)
