"""How far the reader of a feed has come, told so that no commit is passed over and none is seen twice.

Neither keys nor transaction ids follow the order of commits: a transaction that began first may commit last. So a position
is not a place in an order but a snapshot, the set of transactions whose rows have been read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
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

    def behind_each(
        self, rows: Sequence[tuple[int, Any]], snapshot: Snapshot, *, full: bool
    ) -> list[Position]:
        """The positions behind the first, the second and every further row that was read from here.

        Args:
            rows: (transaction, key) of each row, in the order of both.
            snapshot: what the statement saw that read them.
            full: whether there may be more rows, because the statement was to give no more.
        """
        following = [xid for xid, _ in rows[1:]] + [None]
        behind = [
            self._after(snapshot, xid, key, whole=xid != after)
            for (xid, key), after in zip(rows, following, strict=False)
        ]
        if full:
            xid, key = rows[-1]
            behind[-1] = self._after(snapshot, xid, key, whole=False)
        else:
            # Everything that the snapshot saw has been read.
            end, still_open = (behind[-1].end, behind[-1].open) if behind else (self.end, self.open)
            behind[-1:] = [Position(end, still_open & snapshot.open)]
        return behind

    def rest_behind_each(self, keys: Sequence[Any], *, full: bool) -> list[Position]:
        """The same for further rows of the transaction that has been read partly."""
        assert self.partly is not None
        xid, _ = self.partly
        behind = [Position(self.end, self.open, (xid, key)) for key in keys]
        if not full:
            behind[-1:] = [Position(self.end, self.open - {xid})]
        return behind

    def _after(self, snapshot: Snapshot, xid: int, key: Any, *, whole: bool) -> Position:
        """Behind a row; ``whole`` where it is known to be the last one of its transaction."""
        end = max(self.end, xid + 1)
        still_open = {x for x in self.open if x > xid or x in snapshot.open}
        still_open |= {x for x in snapshot.open if self.end <= x < end}
        if whole:
            return Position(end, frozenset(still_open))
        return Position(end, frozenset(still_open | {xid}), (xid, key))

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
