"""The copies of one model: its rows by their keys, its lists and numbers by their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from timber.cache.codec import JsonCodec, RowCodec, RowsCodec
from timber.cache.copies import Copy
from timber.cache.debt import Debt
from timber.cache.keys import question_name, row_name
from timber.cache.memory import MISSING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from timber.cache.cached_model import CachedModel, Columns
    from timber.cache.codec import FrozenRow
    from timber.cache.coherence.cache import CoherentCache
    from timber.cache.coherence.changes import Changes
    from timber.cache.coherence.levels import Kind
    from timber.cache.debt import Told

    Row = Mapping[str, Any]
    Verb = Literal["insert", "update", "delete"]

_NAMES: Final = 20_000
_NOTHING: Final[FrozenRow] = {}


class ModelCache:
    """What the repositories of one model read from a cache.

    Values come frozen, as they are stored, to be thawed by whoever makes something of them.

    Args:
        model: what it declares.
    """

    def __init__(self, cache: CoherentCache, model: CachedModel) -> None:
        self.cache = cache
        self.model = model
        self.codec: RowCodec = RowCodec(model.columns, model.fingerprint(model.columns))
        self._rows = self._kind(self.codec)
        self._numbers = self._kind(JsonCodec(model.fingerprint(())))
        self._lists: dict[Columns, tuple[Kind, RowsCodec, dict[str, int]]] = {}
        self._columns: dict[tuple[str, ...], Columns | None] = {}
        self._names: dict[Any, str] = {}
        self._peek = cache.memory.peek
        self._l1 = self._rows.l1

    def __repr__(self) -> str:
        return f"<ModelCache of {self.model.name}>"

    def _kind(self, codec: Any) -> Kind:
        return self.cache.kind(self.model.name, codec, ttl=self.model.ttl)

    # Rows

    def name_of(self, key: Any) -> str:
        """The name of the row with this key."""
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= _NAMES:
                self._names.clear()
            name = self._names[key] = row_name(self.model.name, key)
        return name

    def peek(self, key: Any) -> FrozenRow | None:
        """The row in the process's memory: empty if it knows that there is none, None if it knows nothing."""
        found = self._peek(self._names.get(key) or self.name_of(key))
        if found is MISSING:
            return None
        self._l1.hits += 1
        return found or _NOTHING

    async def row(self, key: Any, load: Callable[[], Awaitable[Row | None]]) -> FrozenRow | None:
        """The row with this key, None if there is none.

        Args:
            load: reads every column of it from the primary.
        """
        row: FrozenRow | None = await self.cache.read(self._rows, self.name_of(key), load)
        return row

    async def rows(
        self, keys: Iterable[Any], load: Callable[[list[Any]], Awaitable[Sequence[Row]]]
    ) -> dict[Any, FrozenRow]:
        """The rows with these keys that there are: one round trip for all.

        Args:
            load: reads those with some of the keys from the primary.
        """
        names = {self.name_of(key): key for key in keys}
        column = self.model.key

        async def load_named(missing: Sequence[str]) -> dict[str, Row]:
            found = await load([names[name] for name in missing])
            return {self.name_of(row[column]): row for row in found}

        read = await self.cache.read_many(self._rows, list(names), load_named)
        return {key: row for name, key in names.items() if (row := read[name]) is not None}

    # Lists and numbers

    def tags_for(self, equals: Mapping[str, Any]) -> tuple[str, ...]:
        """What a question with these equality filters hangs on; empty where it is not to be cached."""
        for column, tag in self.model.lists.items():
            if column in equals:
                return (tag.of(equals),)
        return ()

    async def list_of(
        self,
        columns: Columns,
        question: object,
        tags: Sequence[str],
        load: Callable[[], Awaitable[Sequence[Row]]],
    ) -> list[Copy]:
        """Rows with these columns, of the reader's own.

        Args:
            question: what tells this list from every other one of the model.
        """
        known = self._lists.get(columns)
        if known is None:
            known = self._lists[columns] = self._list_kind(columns)
        kind, codec, places = known
        name = question_name(self.model.name, codec.fingerprint, question)
        frozen = await self.cache.read(kind, name, load, tags=tags)
        return [Copy(places, codec.values_of(row)) for row in frozen]

    def columns_of(self, names: tuple[str, ...]) -> Columns | None:
        """These columns with the types they are stored in; None if one of them is in no copy."""
        if names not in self._columns:
            types = dict(self.model.columns)
            known = all(name in types for name in names)
            self._columns[names] = tuple((n, types[n]) for n in names) if known else None
        return self._columns[names]

    def _list_kind(self, columns: Columns) -> tuple[Kind, RowsCodec, dict[str, int]]:
        codec = RowsCodec(columns, self.model.fingerprint(columns))
        return self._kind(codec), codec, {name: place for place, name in enumerate(codec.names)}

    async def json(
        self, question: object, tags: Sequence[str], load: Callable[[], Awaitable[Any]]
    ) -> Any:
        """A plain JSON value: a number, whether there is one, numbers by values."""
        kind = self._numbers
        name = question_name(self.model.name, kind.codec.fingerprint, question)
        return kind.codec.thaw(await self.cache.read(kind, name, load, tags=tags))

    # Writes

    def debt(
        self,
        verb: Verb,
        changed: Collection[str] = (),
        *,
        former: Sequence[Row] = (),
        names_rows: bool = True,
    ) -> Debt | None:
        """What a write owes, None if no copy can show it.

        Args:
            changed: the columns that an update changes.
            former: the rows as they were, where they are known.
            names_rows: whether there can be copies under the keys of the rows.
        """
        model = self.model
        shows, wholly = (model.rows and names_rows) or bool(model.tags), []
        if verb == "update":
            shows, wholly = model.shows(changed), model.followers(changed)
            if shows and not former and model.moves(changed):
                wholly.append(model.name)  # nobody knows from which tags
        elif verb == "delete":
            wholly = model.taken
        if not shows and not wholly:
            return None
        if former and not (shows and model.moves(changed)):
            former = ()
        return Debt(model, former=former, wholly=wholly, names_rows=names_rows)

    def moves(self, changed: Collection[str]) -> bool:
        """Whether it has to be known how rows were before these columns of them change."""
        return self.model.moves(changed)

    @property
    def owes(self) -> bool:
        """Whether a write leaves an owed row, for caches elsewhere."""
        return self.cache.owing is not None

    async def pay(self, debt: Debt, told: Iterable[Told]) -> None:
        """Clear what a write that is committed has changed."""
        await self.cache.committed(self._changes(debt, told))

    def pay_later(self, debt: Debt) -> None:
        """Clear what a write has changed that is committed, or may be, and whose rows are not known; Redis in the background."""
        self.cache.overdue(self._changes(debt, debt.all()))

    def _changes(self, debt: Debt, told: Iterable[Told]) -> Changes:
        changes = self.cache.changes()
        debt.add_to(changes, told)
        if self.owes:
            changes.owed = debt.id
        return changes
