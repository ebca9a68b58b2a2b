"""What one write owes to the copies that are kept of its model: names, told by its rows or by the database."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from timber.cache.coherence.changes import MOST
from timber.cache.coherence.owing import TABLE, new_owed_id, row_name_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from timber.cache.cached_model import CachedModel
    from timber.cache.coherence.changes import Changes

NAMES: Final = "names"
_ROWS: Final = "written"

Told = tuple[str, "list[Any]", "list[str]"]
"""A model, keys of its rows, and tags; all of the model where there are neither."""


class Debt:
    """What a write of one model's rows owes.

    Args:
        former: the rows as they were, where the write may take them from one tag to another.
        wholly: models of which everything is to be cleared.
        names_rows: whether there can be copies under the keys of the rows; not where the keys have just been made.

    Attributes:
        needs: the columns of the written rows by which their names are told.
    """

    __slots__ = ("_former", "_id", "_model", "_names_rows", "_wholly", "needs")

    def __init__(
        self,
        model: CachedModel,
        *,
        former: Sequence[Mapping[str, Any]] = (),
        wholly: Sequence[str] = (),
        names_rows: bool = True,
    ) -> None:
        self._model = model
        self._former = model.tags_of(*former)
        self._wholly = wholly
        self._names_rows = names_rows
        self._id: UUID | None = None
        self.needs: tuple[Any, ...] = model.needs

    @property
    def id(self) -> UUID:
        """The id of its owed row, made when it is first asked for."""
        if self._id is None:
            self._id = new_owed_id()
        return self._id

    def told_by(self, rows: Iterable[Mapping[str, Any]]) -> list[Told]:
        """What the written rows, as they are now, tell."""
        model = self._model
        told: list[Told] = [(name, [], []) for name in self._wholly]
        rows = list(rows)
        if not model.is_cached or not rows:
            return told
        try:
            ids = [row[model.key] for row in rows] if self._names_rows else []
            tags = [*self._former, *model.tags_of(*rows)]
        except KeyError:
            return self.all()  # a row that was found again does not tell everything
        if ids or tags:
            told.append((model.name, ids, tags))
        return told

    def told_as(self, names: Sequence[str]) -> list[Told]:
        """The same out of the names that the database has told."""
        return [(self._model.name, [], list(names)), *((name, [], []) for name in self._wholly)]

    def all(self) -> list[Told]:
        """What is to be told where it is not known which rows were written."""
        own = [self._model.name] if self._model.is_cached else []
        return [(name, [], []) for name in dict.fromkeys([*own, *self._wholly])]

    def add_to(self, changes: Changes, told: Iterable[Told]) -> None:
        """Collect what was told."""
        for name, ids, tags in told:
            changes.add(name, ids, tags)

    # In the database

    def owing(self, *, many: bool) -> tuple[str, tuple[Any, ...]]:
        """What inserts the owed row beside the write, with ``{0}`` and so on for the arguments, and these.

        Args:
            many: whether it may have written more than one row.
        """
        text = _owing(self._model, many=many, names_rows=self._names_rows)
        return text, (self.id, *self._known(many=many))

    def telling(self) -> tuple[str, tuple[Any, ...]]:
        """What gives the names of however many rows beside a write whose owed row comes later."""
        return _telling(self._model, names_rows=self._names_rows), self._known(many=True)

    def _known(self, *, many: bool) -> tuple[list[str], ...]:
        """The names that the database cannot tell, and those that stand for very many."""
        further = [*self._wholly, *self._former]
        return (
            (further, [self._model.name] if self._model.is_cached else []) if many else (further,)
        )


_IF_ANY: Final = " HAVING count(*) > 0"


@lru_cache(maxsize=1024)
def _owing(model: CachedModel, *, many: bool, names_rows: bool) -> str:
    names = _names(model, 1, many=many, names_rows=names_rows)
    selected = f"SELECT {{0}}::uuid, {names} FROM {_ROWS}{_IF_ANY if many else ''}"  # noqa: S608  # names of tables and columns
    return f"INSERT INTO {TABLE} (id, names) {selected} RETURNING {NAMES}"


@lru_cache(maxsize=1024)
def _telling(model: CachedModel, *, names_rows: bool) -> str:
    names = _names(model, 0, many=True, names_rows=names_rows)
    return f"SELECT {names} AS {NAMES} FROM {_ROWS}{_IF_ANY}"  # noqa: S608  # as above


def _names(model: CachedModel, first: int, *, many: bool, names_rows: bool) -> str:
    """The names of the written rows; the first argument of it has this number."""
    names = [tag.sql(_ROWS).replace("{", "{{").replace("}", "}}") for tag in model.tags]
    if names_rows and model.is_cached:
        names.insert(0, row_name_sql(model.name, model.key, _ROWS))
    known, whole = f"{{{first}}}::text[]", f"{{{first + 1}}}::text[]"
    listed = f"ARRAY[{', '.join(names)}]::text[]"
    if not many:
        return f"{known} || {listed}"
    each = f"ARRAY(SELECT DISTINCT name FROM {_ROWS}, LATERAL unnest({listed}) AS name)"  # noqa: S608  # as above
    return f"{known} || CASE WHEN count(*) > {MOST} THEN {whole} ELSE {each} END"
