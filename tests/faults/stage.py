"""Transactions that take turns statement by statement, as their script says."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

import asyncpg

from tests.database.ledger import CallerError
from tests.faults.accounts import accounts_of
from tests.faults.anomalies import Case, Desk, Results, Seen, Step
from timber.app import Timber
from timber.database.levels import Isolation
from timber.database.unit_of_work import UnitOfWork

_WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock'
"""


class Turn:
    """A step, when it may begin and when it is done."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.may_begin = asyncio.Event()
        self.done = asyncio.Event()


async def play(
    case: Case, timber: Timber, observer: asyncpg.Connection, isolation: Isolation
) -> Seen:
    """Run a case: each transaction in a task of its own, through ``timber.run``."""
    accounts = accounts_of(timber)
    await accounts.delete_where(accounts.where.value.not_null())
    ids = {n: (await accounts.insert({"value": 10 * n})).id for n in (1, 2)}
    await accounts.get_many(ids.values())  # a cache knows them before
    turns = [Turn(step) for step in case.steps]
    desk = Desk(accounts, ids)
    attempts: Counter[int] = Counter()
    seen: dict[int, Results] = {}

    async def perform(player: int) -> None:
        mine = [turn for turn in turns if turn.step.player == player]

        async def body(_unit: UnitOfWork) -> Results:
            attempts[player] += 1
            results: Results = []
            for turn in mine:
                if attempts[player] == 1:
                    await turn.may_begin.wait()
                if turn.step.aborts:
                    raise CallerError
                if turn.step.act is not None:
                    results.append(await turn.step.act(desk, results))
                    turn.done.set()
            return results

        try:
            with suppress(CallerError):
                seen[player] = await timber.run(body, isolation=isolation)
        finally:
            for turn in mine:
                turn.done.set()

    players = dict.fromkeys(step.player for step in case.steps)
    tasks = [asyncio.create_task(perform(player)) for player in players]
    for turn in turns:
        turn.may_begin.set()
        await _done_or_waiting(turns, observer, timber.settings.application_name)
    await asyncio.gather(*tasks)
    rows = {row["id"]: row["value"] for row in await observer.fetch("SELECT * FROM accounts")}
    final = {number: rows[key] for number, key in ids.items() if key in rows}
    for known in await accounts.get_many(ids.values()):
        assert rows[known.id] == known.value, f"{case.name}: a stale copy is served afterwards"
    return Seen(seen, final, attempts.total() - len(players))


async def _done_or_waiting(
    turns: list[Turn], observer: asyncpg.Connection, application: str
) -> None:
    """Everything that has begun is done, or waits for a lock that another transaction of the case holds."""
    while True:
        pending = {
            turn.step.player for turn in turns if turn.may_begin.is_set() and not turn.done.is_set()
        }
        if not pending or await observer.fetchval(_WAITING, application) == len(pending):
            return
        await asyncio.sleep(0.002)
