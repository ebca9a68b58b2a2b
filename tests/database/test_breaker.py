"""A database that is down: nobody waits to hear so, and one at a time asks again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import assert_nothing_is_held, insert
from tests.harness.proxy import Proxy
from timber.context import deadline
from timber.database.breaker import Breaker
from timber.errors import ConfigurationError, QueryTimeoutError, UnavailableError


def breaker(**options: float) -> Breaker:
    given = {"failures": 3, "wait": 0.05, "wait_max": 0.2, **options}
    return Breaker("database 'x'", **given)  # type: ignore[arg-type]


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.admit()
        breaker.failed()


def test_it_opens_after_so_many_failures_in_a_row():
    some = breaker()
    fail(some, 2)
    some.admit()
    some.succeeded()
    fail(some, 2)
    assert not some.is_open
    fail(some, 1)
    assert some.is_open
    with pytest.raises(UnavailableError, match="is down"):
        some.admit()
    assert (some.opened, some.refused) == (1, 1)


def test_one_at_a_time_asks_again_and_the_waits_grow():
    some = breaker()
    fail(some, 3)
    waits = []
    for _ in range(4):
        waits.append(some._again_at - time.monotonic())
        time.sleep(max(0.0, waits[-1]))
        some.admit()
        with pytest.raises(UnavailableError):
            some.admit()  # another one, meanwhile
        some.failed()
    assert all(0.02 < wait <= 0.2 for wait in waits)
    assert waits[3] > waits[0]
    time.sleep(0.21)
    some.admit()
    some.succeeded()
    assert not some.is_open
    some.admit()


def test_who_gives_up_asking_leaves_it_to_the_next():
    some = breaker()
    fail(some, 3)
    time.sleep(0.06)
    some.admit()
    some.given_up()
    assert some.is_open
    time.sleep(0.06)
    some.admit()


def test_it_can_be_switched_off():
    some = breaker(failures=0)
    fail(some, 100)
    assert not some.is_open


async def test_a_server_that_is_down_refuses_at_once_and_is_found_when_it_is_back(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url, breaker_failures=3, breaker_wait=0.05, breaker_wait_max=0.1)
    await db.ping()
    await proxy.refuse()
    proxy.cut_all()
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await db.ping()
    assert db.breaker.is_open
    asked = time.monotonic()
    with pytest.raises(UnavailableError, match="is down"):
        for _ in range(1000):
            await db.ping()
    assert time.monotonic() - asked < 0.2
    await proxy.accept()
    await eventually(lambda: not db.breaker.is_open, db.health_check)
    await insert(db, "x")
    assert_nothing_is_held(db)


async def test_a_frozen_server_opens_it_too_and_those_who_queue_need_not_wait(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(
        proxy.url,
        pool_size=3,  # one of them for independent units of work
        max_overflow=0,
        pool_timeout=30,
        rollback_timeout=0.1,
        breaker_failures=2,
        breaker_wait=5,
        breaker_wait_max=5,
    )
    connections = db._core.connections
    for link in [await connections.acquire() for _ in range(2)]:
        connections.release(link)
    proxy.freeze()
    for _ in range(2):
        with pytest.raises(QueryTimeoutError):
            async with deadline(0.3):
                await db.ping()
    await eventually(lambda: db.breaker.is_open)
    asked = time.monotonic()
    with pytest.raises(UnavailableError, match="is down"):
        await db.ping()
    assert time.monotonic() - asked < 0.1
    proxy.heal()


async def test_callers_in_a_hurry_do_not_open_it(make_db: MakeDb, proxy: Proxy):
    db = make_db(proxy.url, breaker_failures=2)
    proxy.delay(0.03)
    for _ in range(5):
        with pytest.raises(QueryTimeoutError):
            async with deadline(0.02):
                await db.ping()
    assert not db.breaker.is_open
    await db.ping()
    proxy.heal()


async def test_a_server_that_is_too_slow_to_connect_for_its_callers_opens_it(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url, breaker_failures=2, breaker_wait=5, breaker_wait_max=5)
    proxy.freeze()
    for _ in range(2):
        with pytest.raises(QueryTimeoutError):
            async with deadline(0.3):
                await db.ping()
    assert db.breaker.is_open
    proxy.heal()


async def test_a_refused_log_in_does_not_open_it(make_db: MakeDb, ledger_url: str):
    db = make_db(ledger_url.replace("ledger", "nowhere"), breaker_failures=2)
    for _ in range(5):
        with pytest.raises(ConfigurationError):
            await db.ping()
    assert not db.breaker.is_open


async def test_one_connects_for_all_while_it_is_open(make_db: MakeDb, proxy: Proxy):
    db = make_db(proxy.url, breaker_failures=1, breaker_wait=0.05, breaker_wait_max=0.1)
    await proxy.refuse()
    with pytest.raises(UnavailableError):
        await db.ping()
    await proxy.accept()
    proxy.delay(0.05)
    await asyncio.sleep(0.06)
    accepted = proxy.accepted
    answers = await asyncio.gather(*(db.ping() for _ in range(20)), return_exceptions=True)
    assert proxy.accepted - accepted == 1
    assert [answer for answer in answers if answer is None] == [None]
    proxy.heal()


async def eventually(
    condition: Callable[[], bool], ask: Callable[[], object] | None = None
) -> None:
    async with asyncio.timeout(5):
        while not condition():
            if ask is not None:
                await ask()  # type: ignore[misc]
            await asyncio.sleep(0.01)
