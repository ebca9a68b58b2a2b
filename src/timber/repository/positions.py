"""How far the reader of a feed has come, told so that no commit is passed over and none is seen twice.

Neither keys nor transaction ids follow the order of commits: a transaction that began first may commit last. So a position
is not a place in an order but a snapshot, the set of transactions whose rows have been read.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Self

import orjson

from timber.dto import encode_json
from timber.errors import ValidationError

_LONGEST = (
    65_536  # characters: a position grows with the number of transactions that are open at once
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions that one statement saw as committed: those below ``end`` but the ``open`` ones."""

    end: int
    open: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``pg_current_snapshot()`` gives: ``xmin:xmax:xip,xip``."""
        _, end, open_ids = text.split(":")
        return cls(int(end), frozenset(int(xid) for xid in open_ids.split(",") if xid))


@dataclass(frozen=True, slots=True)
class Position:
    """The rows of a feed that have been read: all of the transactions below ``end`` but the ``open`` ones.

    ``end`` is one above the latest transaction that a row was read of, not where the snapshot ended: that transaction is
    on the disk, so that a server that comes back from a crash cannot give its id, or one below, to another.
    """

    end: int
    open: frozenset[int]
    partly: tuple[int, Any] | None = None
    """An open transaction whose rows have been read up to this key."""

    @classmethod
    def at(cls, snapshot: Snapshot, last: int | None) -> Self:
        """Where a reader stands who has read everything in ``snapshot``, ``last`` being its latest transaction of the feed."""
        end = 0 if last is None else last + 1
        return cls(end, frozenset(xid for xid in snapshot.open if xid < end))

    def after(self, snapshot: Snapshot, xid: int, key: Any, *, whole: bool) -> Position:
        """The position once a row that ``snapshot`` saw has been read, rows being read in the order of (xid, key).

        Args:
            whole: whether it is known to be the last row of its transaction.
        """
        end = max(self.end, xid + 1)
        still_open = {x for x in self.open if x > xid or x in snapshot.open}
        still_open |= {x for x in snapshot.open if self.end <= x < end}
        if whole:
            return Position(end, frozenset(still_open - {xid}))
        return Position(end, frozenset(still_open | {xid}), (xid, key))

    def past(self, snapshot: Snapshot) -> Position:
        """The position once everything that ``snapshot`` saw has been read."""
        return Position(self.end, self.open & snapshot.open)

    def within(self, key: Any) -> Position:
        """The position once a further row of the transaction that has been read partly has been read."""
        assert self.partly is not None
        return Position(self.end, self.open, (self.partly[0], key))

    def closed(self) -> Position:
        """The position once the transaction that has been read partly has been read to its end."""
        assert self.partly is not None
        return Position(self.end, self.open - {self.partly[0]})

    def encode(self, feed: str) -> str:
        """The position as an opaque text.

        Args:
            feed: which feed it belongs to.
        """
        partly = None if self.partly is None else [self.partly[0], _plain(self.partly[1])]
        # The open transactions are near the end, where a distance is shorter than a number.
        distances = sorted(self.end - xid for xid in self.open)
        text = encode_json([feed, self.end, distances, partly])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, feed: str, text: object, check_key: Any) -> Self:
        """Read what :meth:`encode` wrote.

        Raises:
            ValidationError: it is damaged, or belongs to another feed.
        """
        wrong = ValidationError.of(
            "after", "is not a cursor of this subscription: use one as it was given"
        )
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise wrong
        try:
            content = orjson.loads(
                base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            )
        except (binascii.Error, ValueError):
            raise wrong from None
        match content:
            case [str(written_for), int(end), list(distances), partly] if (
                written_for == feed
                and 0 <= end < 2**63
                and all(_is_distance(d, end) for d in distances)
            ):
                open_ids = frozenset(end - distance for distance in distances)
            case _:
                raise wrong
        match partly:
            case None:
                return cls(end, open_ids)
            case [int(xid), key] if xid in open_ids:
                try:
                    return cls(end, open_ids, (xid, check_key(key)))
                except ValidationError:
                    raise wrong from None
            case _:
                raise wrong


def _is_distance(value: object, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= end


def _plain(key: Any) -> Any:
    return key if isinstance(key, str | int) else str(key)
