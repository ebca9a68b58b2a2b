"""Money moved between pairs of accounts by several tasks at once, and somebody who adds it up meanwhile.

A transfer reads four accounts and writes what it has worked out from what it read, so that whatever is not isolated shows. A pair
may together not be overdrawn, each of its two accounts alone may: under snapshots two transfers out of one pair, each of which
sees enough there, overdraw it (write skew).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg

from tests.database.ledger import CallerError
from tests.faults.accounts import accounts_of, transfers_of
from timber.app import Timber
from timber.database.levels import Isolation
from timber.database.unit_of_work import UnitOfWork
from timber.errors import ServiceError

TASKS = 8
PAIRS = 3
EACH = 100
TOTAL = 2 * PAIRS * EACH


@dataclass
class Work:
    """One transfer: what its caller was told, and what was called."""

    id: UUID = field(default_factory=uuid4)
    attempts: int = 0
    called: list[str] = field(default_factory=list)
    overdrawn: bool = False
    """Whether its last attempt has seen an overdrawn pair."""
    error: BaseException | None = None


@dataclass
class Sums:
    """What came of the transfers."""

    transfers: int = 0
    retries: int = 0
    committed: int = 0
    drift: int = 0
    """What the sum of all accounts has changed by, though money is only moved."""
    wrong_sums: int = 0
    """How often somebody who added up has seen another sum."""
    overdrawn: int = 0
    """Pairs that were found overdrawn."""
    errors: int = 0
    wrong_callbacks: int = 0
    """Transfers whose callbacks were not called once if it is there, and never if it is not."""
    stale: int = 0
    """Accounts of which another value than the database's is served afterwards."""


class RefusedError(CallerError):
    """There is not enough in the pair; or the caller has changed his mind."""


async def transfer_much(
    timber: Timber,
    database: asyncpg.Connection,
    isolation: Isolation,
    rng: random.Random,
    each: int,
) -> Sums:
    """Eight tasks make so many transfers each."""
    business = Business(timber, database, isolation)
    await business.open()
    adding = asyncio.create_task(business.add_up())
    seeds = [[rng.getrandbits(32) for _ in range(each)] for _ in range(TASKS)]
    await asyncio.gather(*(business.move_all(of_task) for of_task in seeds))
    business.is_open = False
    await adding
    await business.compare()
    return business.sums


class Business:
    """The pairs of accounts, and what is done with them."""

    def __init__(self, timber: Timber, database: asyncpg.Connection, isolation: Isolation) -> None:
        self.timber = timber
        self.database = database
        self.isolation = isolation
        self.accounts = accounts_of(timber)
        self.transfers = transfers_of(timber)
        self.pairs: list[tuple[UUID, UUID]] = []
        self.works: list[Work] = []
        self.sums = Sums()
        self.is_open = True

    async def open(self) -> None:
        await self.accounts.delete_where(self.accounts.where.id.not_null())
        await self.transfers.delete_where(self.transfers.where.id.not_null())
        made = await self.accounts.insert_many_returning([{"value": EACH}] * (2 * PAIRS))
        self.pairs = [(made[2 * n].id, made[2 * n + 1].id) for n in range(PAIRS)]

    async def move_all(self, seeds: list[int]) -> None:
        for seed in seeds:
            work = Work()
            self.works.append(work)
            try:
                await self.move(work, random.Random(seed))
            except (RefusedError, ServiceError) as error:
                work.error = error

    async def move(self, work: Work, chance: random.Random) -> None:
        source, target = chance.sample(self.pairs, 2)
        taken, given = chance.choice(source), chance.choice(target)
        amount = chance.randint(1, 2 * EACH)
        changes_mind = chance.random() < 0.1

        async def body(unit: UnitOfWork) -> None:
            work.attempts += 1
            unit.on_commit(lambda: work.called.append("committed"))
            unit.on_rollback(lambda: work.called.append("rolled back"))
            found = await self.accounts.get_many([*source, *target])
            read = {account.id: account.value for account in found}
            work.overdrawn = any(read[one] + read[other] < 0 for one, other in (source, target))
            if read[source[0]] + read[source[1]] < amount:
                raise RefusedError
            await self.accounts.update(taken, {"value": read[taken] - amount})
            await self.transfers.insert({"amount": amount}, id=work.id)
            if changes_mind:
                raise RefusedError
            await self.accounts.update(given, {"value": read[given] + amount})

        await self.timber.run(body, isolation=self.isolation)

    async def add_up(self) -> None:
        """Until it closes: what there is, seen twice in one transaction."""

        async def body(_unit: UnitOfWork) -> list[int]:
            return [sum(each.value for each in await self.accounts.find()) for _ in range(2)]

        while self.is_open:
            try:
                seen = await self.timber.run(body, isolation=self.isolation)
            except ServiceError:
                self.sums.errors += 1
            else:
                self.sums.wrong_sums += seen != [TOTAL, TOTAL]
            await asyncio.sleep(0.001)

    async def compare(self) -> None:
        """What was said with what is there."""
        sums = self.sums
        rows = await self.database.fetch("SELECT id, value FROM accounts")
        true = {row["id"]: row["value"] for row in rows}
        sums.drift = sum(true.values()) - TOTAL
        sums.overdrawn = sum(true[one] + true[other] < 0 for one, other in self.pairs)
        for known in await self.accounts.get_many(true):
            sums.stale += true[known.id] != known.value
        there = {row["id"] for row in await self.database.fetch("SELECT id FROM transfers")}
        for work in self.works:
            committed = work.id in there
            sums.transfers += 1
            sums.committed += committed
            sums.errors += isinstance(work.error, ServiceError)
            sums.errors += committed != (work.error is None)
            sums.overdrawn += work.overdrawn
            sums.retries += work.attempts - 1
            expected = ["rolled back"] * (work.attempts - committed) + ["committed"] * committed
            sums.wrong_callbacks += work.called != expected
