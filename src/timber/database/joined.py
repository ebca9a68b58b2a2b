"""A unit of work on a connection that somebody else has checked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timber.context import GRACE, remaining
from timber.database.adapter import AdapterTransaction
from timber.database.errors import FOREIGN, translate
from timber.database.levels import PLAIN, TransactionOptions
from timber.database.shield import Shield
from timber.database.transaction import Transaction
from timber.errors import Outcome, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from timber.database.core import Core
    from timber.database.levels import Level
    from timber.database.links import Link


class JoinedTransaction(Transaction):
    """The part of somebody else's transaction that one unit of work makes: a savepoint on the connection it was given.

    If that connection is in no transaction yet, the unit of work begins and ends one there. Either way the connection stays
    its owner's.
    """

    def __init__(
        self, core: Core, options: TransactionOptions, connection: AsyncConnection
    ) -> None:
        super().__init__(core, options)
        self.connection = connection

    async def _take_link(self) -> Link:
        link = await self._core.connections.borrow(self.connection)
        if self.connection.in_transaction() or AdapterTransaction.is_on(link.adapter):
            if self._options != PLAIN:
                raise UsageError(
                    "The connection is in a transaction already: isolation, read_only, deferrable and timeouts belong to "
                    "whoever began it."
                )
            if not AdapterTransaction.is_on(link.adapter):
                await AdapterTransaction.let_begin(link.adapter)
            self.levels[0].name = "timber_joined"
        return link

    async def _send_begin(self, level: Level, sql: str | None) -> None:
        # Its owner may have left the transaction failed, and a savepoint that was refused is none to roll back to.
        await super()._send_begin(level, None if level is self.levels[0] else sql)

    async def commit(self) -> None:
        await self._prepare_commit()
        if self.link is None or self.levels[0].name is None:
            await super().commit()
            return
        await self.link.driver.execute(f"RELEASE SAVEPOINT {self.levels[0].name}")
        self.outcome = "committed"
        self.link = None

    async def rollback(self) -> None:
        level = self.levels[0]
        if self.link is None or level.name is None:
            await super().rollback()
            return
        self.outcome: Outcome | None = "rolled_back"
        limit = self._core.settings.rollback_timeout
        shield = Shield(lambda: remaining(limit, grace=GRACE), self.link.driver.terminate)
        try:
            if level.sent:
                await shield.run(
                    self.link.driver.execute(
                        f"ROLLBACK TO SAVEPOINT {level.name}; RELEASE SAVEPOINT {level.name}"
                    )
                )
        except FOREIGN as error:
            raise translate(error, self._core.target) from error
        finally:
            self.link = None
        shield.reraise()

    async def _roll_back(self, link: Link) -> None:
        await self._core.connections.settle(link, "ROLLBACK")

    def give_back(self, link: Link) -> None:
        self.link: Link | None = None
        AdapterTransaction.take_off(link.adapter)
