"""Names that this process has changed and Redis has not yet confirmed to have dropped: they are read from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Unconfirmed:
    """A multiset of names: two writers may have the same one in flight."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def mark(self, names: Iterable[str]) -> None:
        """These have changed."""
        counts = self._counts
        for name in names:
            counts[name] = counts.get(name, 0) + 1

    def confirm(self, names: Iterable[str]) -> None:
        """Redis has dropped these, once for each mark."""
        counts = self._counts
        for name in names:
            left = counts[name] - 1
            if left:
                counts[name] = left
            else:
                del counts[name]

    def covers(self, name: str, tags: Iterable[str]) -> bool:
        """Whether an entry may be older than what this process has acknowledged."""
        counts = self._counts
        return bool(counts) and (name in counts or any(tag in counts for tag in tags))

    def __len__(self) -> int:
        return len(self._counts)
