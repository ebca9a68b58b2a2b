"""The seam between Timber's transactions and SQLAlchemy's asyncpg adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def forget_statements(adapter: Any) -> None:
    """Drop the prepared statements that SQLAlchemy keeps for a connection."""
    if adapter._prepared_statement_cache is not None:
        adapter._prepared_statement_cache.clear()


class AdapterTransaction:
    """What stands in the private slot where SQLAlchemy's asyncpg adapter keeps its transaction.

    The adapter begins one by itself with the first statement of its own cursors only, so that a statement sent on the
    driver's connection before would be outside of it, and survive a rollback. With this in the slot both are in ours. It
    is the one place that touches that private name, and a test pins it to the version.
    """

    __slots__ = ("_commit", "_rollback")

    def __init__(
        self, commit: Callable[[], Awaitable[None]], rollback: Callable[[], Awaitable[None]]
    ) -> None:
        self._commit = commit
        self._rollback = rollback

    async def start(self) -> None:
        """Begun already."""

    async def commit(self) -> None:
        await self._commit()

    async def rollback(self) -> None:
        await self._rollback()

    def put_on(self, adapter: Any) -> None:
        adapter._transaction = self

    @staticmethod
    def is_on(adapter: Any) -> bool:
        return adapter._transaction is not None

    @staticmethod
    def take_off(adapter: Any) -> None:
        adapter._transaction = None

    @staticmethod
    async def let_begin(adapter: Any) -> None:
        """Have the adapter send the BEGIN it has put off."""
        await adapter._start_transaction()
