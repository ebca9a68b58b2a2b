"""A deadline, and a server that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    SLEEP,
    Observer,
    assert_nothing_is_held,
    insert,
)
from tests.harness.proxy import Direction, Proxy
from timber.context import deadline, remaining
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import (
    outcome_of,
)
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    QueryTimeoutError,
)


def before_commit(db: AsyncDatabaseManager, action: Callable[[], object]) -> None:
    async def hook(unit: UnitOfWork) -> None:
        db.moments.before_commit.clear()
        action()

    db.moments.before_commit.append(hook)


async def test_a_deadline_that_is_lifted_ends_nothing_and_an_outer_one_still_does():
    async with deadline(0.02) as limit:
        limit.lift()
        await asyncio.sleep(0.05)
        assert remaining(7.0) == 7.0
    with pytest.raises(QueryTimeoutError, match="deadline"):
        async with deadline(0.02), deadline(5) as inner:
            inner.lift()
            await asyncio.sleep(5)
    with pytest.raises(TimeoutError):
        async with deadline(0.01) as limit:
            limit.lift()
            await asyncio.sleep(0.02)
            raise TimeoutError  # somebody else's


@pytest.mark.parametrize("way", ["commit", "lone write"])
async def test_a_deadline_that_ends_sooner_is_the_shields_too(
    make_db: MakeDb, proxy: Proxy, observer: Observer, way: str
):
    db = make_db(proxy.url, commit_timeout=5)
    await insert(db, "warm")
    started = asyncio.get_running_loop().time()
    with pytest.raises(QueryTimeoutError) as caught:
        async with deadline(0.15):
            if way == "commit":
                before_commit(db, proxy.freeze)
                async with db.unit_of_work():
                    await insert(db, "x")
            else:
                proxy.freeze()
                await insert(db, "x")
    assert asyncio.get_running_loop().time() - started < 1
    assert outcome_of(caught.value) == "unknown"
    assert_nothing_is_held(db)
    proxy.heal()


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
async def test_a_frozen_server_does_not_hold_a_read_beyond_its_deadline(
    make_db: MakeDb, proxy: Proxy, direction: Direction
):
    db = make_db(proxy.url)
    await db.ping()
    proxy.freeze_after(0, direction)
    started = asyncio.get_running_loop().time()
    with pytest.raises(QueryTimeoutError):
        async with deadline(0.1):
            await db.fetch(SLEEP, (0.0,))
    assert asyncio.get_running_loop().time() - started < 0.9
    assert_nothing_is_held(db)
    proxy.heal()


async def test_a_frozen_server_does_not_hold_a_unit_of_work_beyond_its_deadline(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url)
    await db.ping()
    started = asyncio.get_running_loop().time()
    with pytest.raises(QueryTimeoutError) as caught:
        async with deadline(0.1), db.unit_of_work() as uow:
            await insert(db, "x")
            proxy.freeze()
            await insert(db, "y")
    assert asyncio.get_running_loop().time() - started < 0.9
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert_nothing_is_held(db)
    proxy.heal()
