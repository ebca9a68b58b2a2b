"""Positions of a feed, against a picture of what PostgreSQL shows to whom in which order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from timber.errors import ValidationError
from timber.repository.positions import Position, Snapshot

Row = tuple[int, int]  # the transaction and the key


@dataclass
class Database:
    """Transactions with rows of one feed, that begin in the order of their ids and end in any."""

    next_xid: int = 100
    running: dict[int, list[Row]] = field(default_factory=dict)
    committed: list[Row] = field(default_factory=list)
    latest_ended: int = 99

    def begin(self, keys: list[int]) -> None:
        self.running[self.next_xid] = [(self.next_xid, key) for key in keys]
        self.next_xid += 1

    def end(self, which: int, *, commit: bool) -> None:
        if self.running:
            xid = sorted(self.running)[which % len(self.running)]
            rows = self.running.pop(xid)
            self.latest_ended = max(self.latest_ended, xid)
            if commit:
                self.committed += rows

    @property
    def snapshot(self) -> Snapshot:
        end = self.latest_ended + 1
        return Snapshot(end, frozenset(xid for xid in self.running if xid < end))

    def unread(self, position: Position) -> list[Row]:
        """What the statements of a feed find."""
        if position.partly is not None:
            xid, last = position.partly
            return sorted(row for row in self.committed if row[0] == xid and row[1] > last)
        return sorted(
            row for row in self.committed if row[0] >= position.end or row[0] in position.open
        )


class Reader:
    """Reads ahead in batches, gives some of it, and may begin again from its cursor at any time."""

    def __init__(self, database: Database, batch: int) -> None:
        self.database = database
        self.batch = batch
        self.given: list[Row] = []
        seen = [xid for xid, _ in database.committed]
        self.position = Position.at(database.snapshot, max(seen, default=None))

    def read(self, at_most: int) -> bool:
        """Read one batch and give some of its rows; whether there may be more."""
        snapshot = self.database.snapshot
        rows = self.database.unread(self.position)[: self.batch]
        full = len(rows) == self.batch
        base = self.position
        if base.partly is not None:
            behind = base.rest_behind_each([key for _, key in rows], full=full)
        else:
            behind = base.behind_each(rows, snapshot, full=full)
        for row, position in zip(rows[:at_most], behind, strict=False):
            self.given.append(row)
            self.position = position
        if not rows:
            self.position = behind[-1]
        return bool(rows) or base.partly is not None

    def resume(self) -> None:
        text = self.position.encode("feed")
        assert Position.decode("feed", text, int) == self.position
        self.position = Position.decode("feed", text, int)


def test_every_committed_row_is_given_once_whatever_the_order_of_commits():
    for seed in range(400):
        chance = random.Random(seed)
        database = Database()
        for _ in range(chance.randrange(10)):
            _change(database, chance)
        old = set(database.committed)
        reader = Reader(database, batch=chance.randint(1, 4))
        for _ in range(60):
            _change(database, chance)
            if chance.random() < 0.4:
                reader.read(chance.randint(0, 4))
            if chance.random() < 0.3:
                reader.resume()
        while database.running:
            database.end(0, commit=True)
        for _ in range(2000):
            if not reader.read(reader.batch):
                break
        assert len(reader.given) == len(set(reader.given)), seed
        assert set(reader.given) == set(database.committed) - old, seed


def _change(database: Database, chance: random.Random) -> None:
    if len(database.running) < 6 and chance.random() < 0.5:
        database.begin(chance.sample(range(10), chance.randrange(6)))
    else:
        database.end(chance.randrange(6), commit=chance.random() < 0.8)


def test_a_position_does_not_grow_with_what_has_been_read():
    database = Database()
    reader = Reader(database, 3)
    for _ in range(200):
        database.begin([1, 2])
        database.end(0, commit=True)
        reader.read(3)
    assert len(reader.position.encode("feed")) < 60


def test_a_position_ends_with_the_last_transaction_read_and_not_with_the_snapshot():
    """Ids above it that were aborted just before a crash are given to other transactions after it."""
    snapshot = Snapshot.parse("90:120:90,95,110")
    position = Position.at(snapshot, 100)
    assert position == Position(101, frozenset({90, 95}))
    (behind,) = position.behind_each([(105, 1)], snapshot, full=False)
    assert behind == Position(106, frozenset({90, 95}))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "%%%",
        Position(5, frozenset()).encode("another feed"),
        Position(5, frozenset({3}), (3, "no number")).encode("feed"),
        "WyJmZWVkIiwtMSxbXSxudWxsXQ",  # ["feed",-1,[],null]
        "WyJmZWVkIiw1LFs5XSxudWxsXQ",  # ["feed",5,[9],null]
        "WyJmZWVkIiw1LFtdLFs0LDFdXQ",  # ["feed",5,[],[4,1]]: read partly, and not open
        "WyJmZWVkIiw1LFt0cnVlXSxudWxsXQ",  # ["feed",5,[true],null]
    ],
)
def test_a_damaged_cursor_is_refused(text):
    def check_key(key: object) -> object:
        if not isinstance(key, int):
            raise ValidationError.of("id", "is no number")
        return key

    with pytest.raises(ValidationError) as caught:
        Position.decode("feed", text, check_key)
    assert caught.value.errors[0].field == "after"
