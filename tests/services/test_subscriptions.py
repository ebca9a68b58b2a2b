from __future__ import annotations

import asyncio
import dataclasses
from typing import Self

import pytest

from tests.harness.databases import connected
from tests.services.subscribing import is_quiet, send, take
from timber import Timber, UsageError, ValidationError
from timber.repository.positions import Position

# What comes


async def test_what_is_committed_comes_once_and_only_to_its_user(timber):
    await send(timber, "before")
    async with timber.notifications.subscribe("user-1") as subscription:
        made = await send(timber, "1")
        await send(timber, "theirs", "user-2")
        await send(timber, "2")
        assert await anext(subscription) == made
        assert await take(subscription, 1) == ["2"]
        assert await is_quiet(subscription)


async def test_rows_come_however_they_were_written(timber, database_url):
    item = {"user_id": "user-1", "notification_type": "n", "content": "c"}
    async with timber.notifications.subscribe("user-1") as subscription:
        await timber.notifications.create_many([{**item, "title": "copied"}] * 3)
        assert await take(subscription, 3) == ["copied"] * 3
        await timber.notifications.repository.insert_many_returning(
            [{**item, "title": "array"}] * 2
        )
        assert await take(subscription, 2) == ["array"] * 2
        async with connected(database_url) as connection:
            await connection.execute(
                "INSERT INTO notifications (id, user_id, notification_type, title, content,"
                " metadata, priority, is_read, created_at) SELECT gen_random_uuid(), 'user-1', 'n',"
                " 'by hand', 'c', '{}', 'low', false, now()"
            )
        assert await take(subscription, 1) == ["by hand"]


class Held:
    """A transaction of a task of its own, with one row of user-1 in it, held open until it is let go."""

    def __init__(self, timber: Timber, title: str) -> None:
        self._timber = timber
        self._title = title
        self._wrote = asyncio.Event()
        self._go = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write())
        await self._wrote.wait()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.commit()

    async def commit(self) -> None:
        self._go.set()
        await self._task

    async def _write(self) -> None:
        async with self._timber.unit_of_work():
            await send(self._timber, self._title)
            self._wrote.set()
            await self._go.wait()


async def test_an_uncommitted_row_waits_and_one_rolled_back_never_comes(timber):
    async with timber.notifications.subscribe("user-1") as subscription:
        async with Held(timber, "held"):
            assert await is_quiet(subscription)
        assert await take(subscription, 1) == ["held"]
        with pytest.raises(ZeroDivisionError):
            async with timber.unit_of_work():
                await send(timber, "rolled back")
                raise ZeroDivisionError
        async with timber.unit_of_work() as uow:
            with pytest.raises(ZeroDivisionError):
                async with uow.savepoint():
                    await send(timber, "undone")
                    raise ZeroDivisionError
            async with uow.savepoint():
                await send(timber, "kept")
        assert await take(subscription, 1) == ["kept"]
        assert await is_quiet(subscription)


async def test_marking_as_read_sends_nothing_again(timber):
    async with timber.notifications.subscribe("user-1") as subscription:
        made = await send(timber)
        await take(subscription, 1)
        await timber.notifications.mark_as_read(made.id)
        await timber.notifications.update(made.id, {"title": "changed"})
        assert await is_quiet(subscription)


async def test_it_is_not_to_be_read_inside_a_unit_of_work(timber):
    async with timber.unit_of_work():
        with pytest.raises(UsageError, match="Subscribe outside"):
            await timber.notifications.subscribe("user-1").__aenter__()
    async with timber.notifications.subscribe("user-1") as subscription:
        async with timber.unit_of_work():
            with pytest.raises(UsageError, match="Subscribe outside"):
                await anext(subscription)
        await send(timber, "afterwards")
        assert await take(subscription, 1) == ["afterwards"]


async def test_what_is_committed_while_it_reads_calls_for_another_read(timber):
    async with timber.notifications.subscribe("user-1") as subscription:
        await is_quiet(subscription)
        feed, watch = subscription._feed, subscription._watch

        async def read_before_the_second(position):
            subscription._feed = feed
            batch = await feed.read(position)
            watch.settle()
            await send(timber, "2")
            await watch.wait()
            return batch

        subscription._feed = dataclasses.replace(feed, read=read_before_the_second)
        await send(timber, "1")
        assert await take(subscription, 2, seconds=2) == ["1", "2"]


# Cursors


async def test_a_later_subscription_goes_on_behind_the_cursor(timber):
    async with timber.notifications.subscribe("user-1") as subscription:
        begin = subscription.cursor
        for n in range(5):
            await send(timber, str(n))
        assert await take(subscription, 2) == ["0", "1"]
        cursor = subscription.cursor
    await send(timber, "5")
    async with timber.notifications.subscribe("user-1", after=cursor) as subscription:
        assert await take(subscription, 4) == ["2", "3", "4", "5"]
        assert await is_quiet(subscription)
    async with timber.notifications.subscribe("user-1", begin) as subscription:
        assert await take(subscription, 6) == ["0", "1", "2", "3", "4", "5"]


async def test_a_cursor_within_one_large_transaction_has_no_gap_and_no_repeat(timber):
    item = {"user_id": "user-1", "notification_type": "n", "content": "c"}
    cursor = None
    got: list[str] = []
    async with timber.notifications.subscribe("user-1") as subscription:
        cursor = subscription.cursor
        await timber.notifications.create_many([{**item, "title": str(n)} for n in range(350)])
    for number in (1, 99, 100, 101, 49):
        async with timber.notifications.subscribe("user-1", after=cursor) as subscription:
            got += await take(subscription, number)
            cursor = subscription.cursor
    assert got == [str(n) for n in range(350)]


async def test_a_transaction_that_began_first_and_commits_last_is_not_passed_over(timber):
    """Its id, and the ids of its rows, are below what has been given already."""
    subscribe = timber.notifications.subscribe
    async with subscribe("user-1") as subscription, Held(timber, "slow") as held:
        await send(timber, "quick")
        assert await take(subscription, 1) == ["quick"]
        cursor = subscription.cursor
        await send(timber, "quicker")
        assert await take(subscription, 1) == ["quicker"]
        await held.commit()
        assert await take(subscription, 1) == ["slow"]
        assert await is_quiet(subscription)
    async with subscribe("user-1", after=cursor) as subscription:
        assert sorted(await take(subscription, 2)) == ["quicker", "slow"]
        assert await is_quiet(subscription)


async def test_a_transaction_open_when_it_begins_is_not_passed_over(timber):
    async with Held(timber, "held") as held:
        async with timber.notifications.subscribe("user-1") as subscription:
            await held.commit()
            assert await take(subscription, 1) == ["held"]


async def test_a_cursor_of_another_user_table_or_database_is_refused(timber):
    async with timber.notifications.subscribe("user-1") as subscription:
        await send(timber)
        await take(subscription, 1)
        cursor = subscription.cursor
    for wrong in ("", "nonsense", cursor[:-3], 5):
        with pytest.raises(ValidationError):
            timber.notifications.subscribe("user-1", after=wrong)
    with pytest.raises(ValidationError):
        timber.notifications.subscribe("user-2", after=cursor)
    ahead = Position(2**60, frozenset()).encode(subscription._feed.name)
    async with timber.notifications.subscribe("user-1", after=ahead) as subscription:
        with pytest.raises(ValidationError, match="ahead of this database"):
            await anext(subscription)


async def test_rows_of_a_restored_dump_with_ids_of_the_future_are_not_news(timber, database_url):
    async with connected(database_url) as connection:
        await send(timber, "restored")
        await connection.execute("UPDATE notifications SET transaction_id = 1::bigint << 60")
    async with timber.notifications.subscribe("user-1") as subscription:
        await send(timber, "new")
        assert await take(subscription, 1) == ["new"]
        assert await is_quiet(subscription)
