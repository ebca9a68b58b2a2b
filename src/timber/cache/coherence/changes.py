"""What one transaction changes, collected while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from timber.cache.keys import row_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

MOST: Final = 1000
"""Above so many names of one model a transaction clears all of the model instead: they would be longer to tell than it
takes to read again what is asked for."""


class Changes:
    """The names that one transaction, or one savepoint of it, changes.

    Attributes:
        owed: the id of the owed row, once it is written.
    """

    __slots__ = ("_names", "owed")

    def __init__(self) -> None:
        self._names: dict[str | None, dict[str, None]] = {}
        self.owed: UUID | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Rows, tags and models, each once."""
        return tuple(dict.fromkeys(name for names in self._names.values() for name in names))

    def add(self, model: str, ids: Iterable[object] = (), tags: Iterable[str] = ()) -> None:
        """Rows of a model by their keys, and tags of the model's own. Neither of them means all of the model: a write that has
        touched no row adds nothing by not being told here.
        """
        names = [row_name(model, key) for key in ids]
        names += tags
        self._add(model, names or (model,))

    def add_said(self, model: str, ids: Iterable[object] = (), tags: Iterable[str] = ()) -> None:
        """The same as a user says it: all of the model does not stand for the tags, which may be anybody's."""
        ids, tags = tuple(ids), tuple(tags)
        if ids or not tags:
            self.add(model, ids)
        self._names.setdefault(None, {}).update(dict.fromkeys(tags))

    def _add(self, model: str, names: Iterable[str]) -> None:
        known = self._names.setdefault(model, {})
        known.update(dict.fromkeys(names))
        if len(known) > MOST:
            self._names[model] = {model: None}

    def __bool__(self) -> bool:
        return bool(self._names)
