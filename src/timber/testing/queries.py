"""Counting the statements that a piece of code sends, and finding the ones it sends over and over."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from timber.database.manager import AsyncDatabaseManager


class QueryCounter:
    """The statements sent since it was made.

    Attributes:
        labels: what each was, such as ``get Session``, in order.
    """

    def __init__(self) -> None:
        self.labels: list[str] = []
        self._texts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.labels)

    def saw(self, label: str, sql: str, _seconds: float) -> None:
        """Count one statement, unless it is one of the library's own that nobody waits for."""
        if label.startswith("background:"):
            return
        self.labels.append(label)
        self._texts[sql] += 1

    def repeated(self, times: int = 3) -> list[str]:
        """The texts of statements that were sent at least ``times`` times: the mark of a query for each row (N+1)."""
        return [sql for sql, count in self._texts.items() if count >= times]


@contextmanager
def count_queries(
    db: AsyncDatabaseManager, *, expected: int | None = None, repeats: int | None = None
) -> Generator[QueryCounter]:
    """Count the statements sent inside, by any task.

    Args:
        expected: the number there are to be.
        repeats: how often one statement may be sent; more is the mark of a query for each row (N+1).

    Raises:
        AssertionError: there were others; it lists them.
    """
    counter = QueryCounter()
    db.monitor.listeners.append(counter.saw)
    try:
        yield counter
    finally:
        db.monitor.listeners.remove(counter.saw)
    if expected is not None and len(counter) != expected:
        raise AssertionError(
            f"{len(counter)} statements were sent, {expected} expected: {', '.join(counter.labels)}"
        )
    if repeats is not None and (again := counter.repeated(repeats + 1)):
        raise AssertionError(
            f"sent more than {repeats} times, a query for each row (N+1)? {again[0]}"
        )
