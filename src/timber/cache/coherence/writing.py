"""Writing: what a transaction has changed is dropped everywhere after its COMMIT, before the call returns."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from timber.cache.coherence.store import UnreachableError

if TYPE_CHECKING:
    from timber.cache.coherence.changes import Changes
    from timber.cache.coherence.levels import Levels
    from timber.cache.coherence.owing import Owing

REMEMBERED_SECONDS = 10.0
"""For how long a confirmed clear is repeated after the subscription was lost: a Redis that has been deposed confirms
what nobody will ever see."""


class Writing:
    """The writers of one process."""

    def __init__(self, levels: Levels, owing: Owing | None) -> None:
        self.levels = levels
        self.owing = owing
        self._pending: dict[Changes, tuple[tuple[str, ...], bool]] = {}
        self._recent: deque[tuple[float, tuple[str, ...]]] = deque()

    @property
    def pending(self) -> int:
        """How many clears Redis has not confirmed."""
        return len(self._pending)

    async def committed(self, changes: Changes, *, is_known: bool = True) -> None:
        """Drop what a transaction has changed, here and everywhere; an error of Redis never reaches the caller.

        Args:
            is_known: False after an unknown outcome. The owed row then stays for the replay: the transaction may yet be
                committed, later than this.
        """
        names = self.begin(changes, is_known=is_known)
        store = self.levels.store
        if not names or store is None:
            return
        try:
            await store.clear(names)
        except UnreachableError:
            self.levels.stats.clears_failed += 1
            return  # still pending: the retry in the background has it
        self._confirm(changes)

    def begin(self, changes: Changes, *, is_known: bool = True) -> tuple[str, ...]:
        """Drop here what a transaction has changed, and read it from the database until Redis has confirmed; the names."""
        names = changes.names
        if names:
            self.levels.drop(names)
            if self.levels.store is not None:
                self.levels.unconfirmed.mark(names)
                self._pending[changes] = names, is_known
        return names

    async def retry(self) -> bool:
        """Repeat every clear that is not confirmed; whether Redis confirmed them, or there was none."""
        pending = dict(self._pending)
        if not pending:
            return True
        assert self.levels.store is not None
        names = tuple(dict.fromkeys(name for names, _ in pending.values() for name in names))
        try:
            await self.levels.store.clear(names)
        except UnreachableError:
            return False
        for changes in pending:
            self._confirm(changes)
        return True

    async def repeat_recent(self) -> bool:
        """Clear again what was cleared in the last seconds; whether Redis confirmed it."""
        self._forget_old()
        names = tuple(dict.fromkeys(name for _, names in self._recent for name in names))
        if not names:
            return True
        assert self.levels.store is not None
        self.levels.drop(names)
        try:
            await self.levels.store.clear(names)
        except UnreachableError:
            return False
        return True

    def _confirm(self, changes: Changes) -> None:
        # A retry in the background and the caller may both come here.
        waiting = self._pending.pop(changes, None)
        if waiting is None:
            return
        names, is_known = waiting
        self.levels.unconfirmed.confirm(names)
        self._forget_old()
        self._recent.append((self.levels.clock.now(), names))
        for name in names:
            self.levels.stats.invalidated("l2", name)
        if is_known and self.owing is not None and changes.owed is not None:
            self.owing.settle(changes.owed)

    def _forget_old(self) -> None:
        oldest = self.levels.clock.now() - REMEMBERED_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
