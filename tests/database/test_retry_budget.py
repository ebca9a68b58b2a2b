"""Repetitions after outages come out of one budget for all, so that an outage is not multiplied."""

from __future__ import annotations

import asyncio

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import Observer, insert
from tests.database.test_retry import attempts, raising
from tests.harness.proxy import Proxy
from timber.database.retry import RetryBudget
from timber.database.unit_of_work import UnitOfWork
from timber.errors import SerializationError, UnavailableError


def test_the_bucket_holds_ten_seconds_worth_and_fills_up_by_itself():
    budget = RetryBudget(rate=2.0)
    assert [budget.withdraw() for _ in range(21)] == [True] * 20 + [False]
    assert budget.refused == 1
    budget._at -= 1.0
    assert [budget.withdraw() for _ in range(3)] == [True, True, False]
    budget.give_back(500)
    assert sum(budget.withdraw() for _ in range(100)) == 20


async def test_an_outage_that_goes_on_is_not_multiplied(make_db: MakeDb):
    db = make_db(retry_rate=0.5, outage_attempts=3)
    made = 0
    for _ in range(10):
        count, error = await attempts(db, lambda _: db.execute(raising("57P03")))
        assert isinstance(error, UnavailableError)
        made += count
    assert made == 10 + 5, "one each, and the five that the bucket held"
    assert db._core.retry_budget.refused >= 5


async def test_a_repetition_that_helps_costs_nothing(make_db: MakeDb, observer: Observer):
    db = make_db(retry_rate=0.1)
    for number in range(10):
        tries = 0

        async def body(unit: UnitOfWork, number: int = number) -> None:
            nonlocal tries
            tries += 1
            await insert(db, str(number))
            if tries == 1:
                await db.execute(raising("57P03"))

        await db.run(body)
        assert tries == 2
    assert await observer.count() == 10


async def test_conflicts_are_not_outages(make_db: MakeDb):
    db = make_db(retry_rate=0.1, conflict_attempts=4)
    for _ in range(5):
        count, error = await attempts(db, lambda _: db.execute(raising("40001")))
        assert (count, type(error)) == (4, SerializationError)


async def test_statements_alone_draw_on_it_too(make_db: MakeDb, proxy: Proxy):
    db = make_db(proxy.url, retry_rate=0.1)
    await db.ping()
    assert db._core.retry_budget.withdraw()
    proxy.cut_after(0, "to_server")
    with pytest.raises(UnavailableError):
        await db.ping()
    await asyncio.sleep(0)
    await db.ping()
