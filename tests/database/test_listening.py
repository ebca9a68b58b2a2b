"""The listening connection: one for all watchers, taken up again when it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.database.ledger import Observer
from tests.harness.proxy import Proxy
from timber.context import deadline
from timber.database.listen import Watch
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement

NOTIFY = Statement("SELECT pg_notify($1, $2)", label="notify")


async def hear(watch: Watch) -> None:
    async with asyncio.timeout(5):
        await watch.wait()
    watch.settle()


async def is_quiet(watch: Watch, seconds: float = 0.2) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await watch.wait()
    except TimeoutError:
        return True
    return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def settled(db: AsyncDatabaseManager, *watches: Watch) -> None:
    """Wait until the channels are listened to, and take note of what has been heard so far."""
    await until(lambda: db.listener.is_listening)
    for watch in watches:
        await hear(watch)


async def listeners(observer: Observer, db: AsyncDatabaseManager) -> list[int]:
    """The server processes whose connections listen."""
    rows = await observer.connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%'",
        db.settings.application_name,
    )
    return [row["pid"] for row in rows]


async def test_a_watch_hears_its_key_and_no_other(db, make_db):
    mine, other = db.listener.watch("news", "mine"), db.listener.watch("news", "other")
    await settled(db, mine, other)
    await make_db().fetch(NOTIFY, ["news", "mine"])
    await hear(mine)
    assert await is_quiet(other)


async def test_a_watch_is_told_at_first_that_there_may_be_something_to_read(db):
    watch = db.listener.watch("news", "mine")
    await hear(watch)


async def test_nothing_is_heard_of_a_transaction_before_it_commits_nor_if_it_rolls_back(db):
    watch = db.listener.watch("news", "mine")
    await settled(db, watch)
    with pytest.raises(ZeroDivisionError):
        async with db.unit_of_work():
            await db.fetch(NOTIFY, ["news", "mine"])
            raise ZeroDivisionError
    assert await is_quiet(watch)
    async with db.unit_of_work():
        await db.fetch(NOTIFY, ["news", "mine"])
        assert await is_quiet(watch)
    await hear(watch)


async def test_all_watches_share_one_connection_which_takes_no_place_in_the_pool(make_db, observer):
    db = make_db(pool_size=1, max_overflow=0)
    watches = [db.listener.watch(f"news_{i % 3}", str(i)) for i in range(30)]
    await settled(db, *watches)
    assert len(await listeners(observer, db)) == 1
    await until(lambda: db.get_pool_status()["checked_out"] == 0)
    async with db.unit_of_work():
        await db.fetch(NOTIFY, ["news_1", "4"])
    await hear(watches[4])


async def test_a_lost_connection_is_opened_again_and_every_watch_is_told_of_the_gap(
    db, make_db, observer
):
    watches = [db.listener.watch("news", "a"), db.listener.watch("other_news", "b")]
    await settled(db, *watches)
    for _ in range(3):
        (pid,) = await listeners(observer, db)
        await observer.connection.fetch("SELECT pg_terminate_backend($1)", pid)
        for watch in watches:
            await hear(watch)
        await until(lambda: db.listener.is_listening)
    await make_db().fetch(NOTIFY, ["other_news", "b"])
    await hear(watches[1])


async def test_it_waits_for_a_server_that_refuses_and_says_so(make_db, ledger_url, caplog):
    async with Proxy(ledger_url) as proxy:
        db = make_db(proxy.url)
        watch = db.listener.watch("news", "mine")
        await settled(db, watch)
        with caplog.at_level(logging.WARNING, "timber.database.listen"):
            await proxy.refuse()
            proxy.cut_all()
            await asyncio.sleep(0.4)
        assert not db.listener.is_listening
        assert "Listening on" in caplog.text
        assert len(caplog.records) < 8, "the waits between attempts grow"
        await proxy.accept()
        await hear(watch)
        await until(lambda: db.listener.is_listening)
        await db.dispose()


async def test_a_link_that_is_half_open_is_found_by_the_heartbeat(make_db, ledger_url, monkeypatch):
    monkeypatch.setattr("timber.database.listen._PROBE_SECONDS", 0.2)
    async with Proxy(ledger_url) as proxy:
        db = make_db(proxy.url)
        db.listener.heartbeat_seconds = 0.1
        watch = db.listener.watch("news", "mine")
        await settled(db, watch)
        proxy.freeze()
        await until(lambda: not db.listener.is_listening)
        proxy.cut_all()
        proxy.heal()
        await hear(watch)
        await until(lambda: db.listener.is_listening)
        await db.dispose()


async def test_behind_a_pooler_that_passes_no_notifications_on_a_watch_is_still_woken(
    db, monkeypatch
):
    monkeypatch.setattr("timber.database.listen._PROBE_SECONDS", 0.05)
    monkeypatch.setattr(type(db.listener), "_probe_received", lambda *_: None)
    watch = db.listener.watch("news", "mine")
    for _ in range(4):
        await hear(watch)


async def test_it_closes_after_the_last_watch_and_opens_again_for_the_next(db, observer):
    db.listener.heartbeat_seconds = 0.05
    watch = db.listener.watch("news", "mine")
    await settled(db, watch)
    watch.close()
    async with asyncio.timeout(5):
        while await listeners(observer, db):
            await asyncio.sleep(0.02)
    again = db.listener.watch("news", "mine")
    await settled(db, again)
    await db.fetch(NOTIFY, ["news", "mine"])
    await hear(again)


async def test_a_watch_that_is_closed_hears_nothing_and_lets_its_waiter_go(db):
    watch = db.listener.watch("news", "mine")
    await settled(db, watch)
    waiting = asyncio.create_task(watch.wait())
    await asyncio.sleep(0)
    watch.close()
    await waiting
    assert watch.is_closed


async def test_disposal_ends_every_watch_and_the_connection(db, observer):
    watch = db.listener.watch("news", "mine")
    await settled(db, watch)
    waiting = asyncio.create_task(watch.wait())
    await asyncio.sleep(0)
    await db.dispose()
    await waiting
    assert watch.is_closed
    assert await listeners(observer, db) == []


async def test_disposal_while_it_connects_leaves_nothing_behind(make_db, observer):
    for delay in (0, 0.001, 0.003, 0.01):
        db = make_db()
        db.listener.watch("news", "mine")
        await asyncio.sleep(delay)
        await db.dispose()
        await observer.wait_until_gone(db.settings.application_name)


async def test_the_deadline_of_the_first_watcher_is_not_the_listeners(db):
    async with deadline(0.1):
        watch = db.listener.watch("news", "mine")
        await settled(db, watch)
    await asyncio.sleep(0.15)
    await db.fetch(NOTIFY, ["news", "mine"])
    await hear(watch)
    another = db.listener.watch("other_news", "mine")
    await settled(db, another)
