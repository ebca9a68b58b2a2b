"""Savepoints and an ORM session."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.database.ledger import (
    CallerError,
    Entry,
    Observer,
    add,
    insert,
)
from timber.database.manager import AsyncDatabaseManager


async def test_a_savepoint_that_is_rolled_back_restores_the_identity_map(
    db: AsyncDatabaseManager, observer: Observer
):
    key = await insert(db, "first")
    async with db.unit_of_work() as uow:
        entry = await uow.session.get_one(Entry, key)
        with pytest.raises(CallerError):
            async with uow.savepoint():
                entry.note = "changed"
                uow.session.add(Entry(note="new"))
                await uow.session.flush()
                await add(db, key, 5)
                raise CallerError
        assert (await uow.session.get_one(Entry, key)).note == "first"
        await uow.session.refresh(entry)
        assert (entry.note, entry.amount) == ("first", 0)
        assert not uow.session.new
    assert await observer.notes() == ["first"]


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_session_made_inside_a_savepoint_is_expunged_when_that_rolls_back(
    db: AsyncDatabaseManager, observer: Observer, flushed: bool
):
    async with db.unit_of_work() as uow:
        await insert(db, "before")
        with pytest.raises(CallerError):
            async with uow.savepoint():
                undone = Entry(note="undone")
                uow.session.add(undone)
                if flushed:
                    await uow.session.flush()
                raise CallerError
        assert undone not in uow.session
        assert await uow.session.get(Entry, undone.id or uuid4()) is None
        uow.session.add(Entry(note="after"))
    assert await observer.notes() == ["after", "before"]


async def test_what_is_pending_at_the_end_of_a_savepoint_belongs_to_it(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        session = uow.session
        async with uow.savepoint():
            session.add(Entry(note="kept"))
        with pytest.raises(CallerError):
            async with uow.savepoint():
                session.add(Entry(note="undone"))
                raise CallerError
        session.add(Entry(note="last"))
    assert await observer.notes() == ["kept", "last"]


async def test_what_was_pending_before_a_savepoint_survives_its_rollback(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        uow.session.add(Entry(note="pending"))
        with pytest.raises(CallerError):
            async with uow.savepoint():
                await insert(db, "undone")
                raise CallerError
    assert await observer.notes() == ["pending"]


async def test_nested_units_share_the_session(db: AsyncDatabaseManager, observer: Observer):
    async with db.unit_of_work() as outer:
        async with db.unit_of_work() as inner:
            assert inner.session is outer.session
            inner.session.add(Entry(note="inner"))
        async with db.session_scope() as session:
            assert session is outer.session
        async with db.unit_of_work(independent=True) as other:
            assert other.session is not outer.session
    assert await observer.notes() == ["inner"]


async def test_a_read_in_a_savepoint_unlike_the_first_statement_is_inside(
    db: AsyncDatabaseManager, observer: Observer
):
    """SQLAlchemy puts SAVEPOINT off until its next statement: a raw one sent first would be outside of it."""
    async with db.unit_of_work() as uow:
        await uow.session.execute(text("SELECT 1"))
        with pytest.raises(CallerError):
            async with uow.savepoint():
                await insert(db, "raw, first in the savepoint")
                raise CallerError
    assert await observer.count() == 0
