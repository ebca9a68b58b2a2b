"""What one transaction changes, collected while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timber.cache.keys import row_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


class Changes:
    """The names that one transaction, or one savepoint of it, changes.

    Attributes:
        names: rows, tags and models, in the order in which they were told.
        owed: the id of the owed row, once it is written.
    """

    __slots__ = ("_names", "owed")

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self.owed: UUID | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def add(self, model: str, ids: Iterable[object] = (), tags: Iterable[str] = ()) -> None:
        """Rows of a model by their keys, and tags. Neither of them means all of the model: a write that has touched no row
        adds nothing by not being told here.
        """
        names = [row_name(model, key) for key in ids]
        names += tags
        self.add_names(names or (model,))

    def add_names(self, names: Iterable[str]) -> None:
        """Names as the database gave them."""
        self._names.update(dict.fromkeys(names))

    def merge(self, inner: Changes) -> None:
        """What a savepoint has changed, at its release; one that is rolled back is simply dropped."""
        self._names.update(inner._names)

    def __bool__(self) -> bool:
        return bool(self._names)
