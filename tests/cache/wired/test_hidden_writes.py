"""Writes that nobody calls by their name: cascades, orphans, failed flushes, statements inside of others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import load_only, selectinload

from tests.cache.wired.house import House
from timber import ConflictError


def rows_of(house: House, model: str) -> Any:
    return house.timber.repository(model, house.timber.registry.read_dto(model))


async def a_task(house: House, **values: Any) -> UUID:
    task = await house.tasks.insert({"user_id": "ann", "number": 1, **values})
    await house.tasks.get(task.id)
    await house.tasks.find(user_id=task.user_id)
    return task.id  # type: ignore[no-any-return]


async def test_a_row_that_goes_with_another_of_its_own_model_is_gone(house: House) -> None:
    comments = rows_of(house, "Comment")
    root = await comments.insert({"text": "root"})
    reply = await comments.insert({"text": "reply", "parent_id": root.id})
    assert await comments.get(reply.id) == reply
    await comments.delete(root.id)
    assert await comments.get_or_none(reply.id) is None


async def test_a_flush_that_failed_does_not_hide_what_comes_after_it(house: House) -> None:
    key = await a_task(house, code="taken")
    task = house.timber.registry.get_model("Task")
    async with house.timber.unit_of_work() as uow:
        session = uow.session
        with pytest.raises(ConflictError):
            async with uow.savepoint():
                session.add(task(user_id="ann", code="taken"))
                await session.flush()
        await session.execute(sa.update(task.__table__).values(status="done"))
    assert (await house.tasks.get(key)).status == "done"


async def test_an_attribute_that_is_set_without_having_been_read_clears_both_lists(
    house: House,
) -> None:
    key = await a_task(house)
    await house.tasks.find(user_id="bob")
    task = house.timber.registry.get_model("Task")
    async with house.timber.unit_of_work() as uow:
        found = (await uow.session.scalars(sa.select(task).options(load_only(task.id)))).one()
        found.user_id = "bob"
    assert await house.tasks.find(user_id="ann") == []
    assert [t.id for t in await house.tasks.find(user_id="bob")] == [key]


async def test_an_orphan_is_gone(house: House) -> None:
    boards, notes = rows_of(house, "Board"), rows_of(house, "Note")
    await boards.insert({"code": "a"})
    note = await notes.insert({"board_code": "a", "text": "n"})
    assert await notes.find(board_code="a") == [note]
    board = house.timber.registry.get_model("Board")
    async with house.timber.unit_of_work() as uow:
        query = sa.select(board).options(selectinload(board.notes))
        found = (await uow.session.scalars(query)).one()
        found.notes.clear()
    assert await notes.get_or_none(note.id) is None
    assert await notes.find(board_code="a") == []


async def test_rows_that_follow_a_column_follow_an_upsert_of_it(house: House) -> None:
    boards, notes = rows_of(house, "Board"), rows_of(house, "Note")
    board = await boards.insert({"code": "a"})
    note = await notes.insert({"board_code": "a", "text": "n"})
    assert (await notes.get(note.id)).board_code == "a"
    await boards.upsert({"id": board.id, "code": "b"})
    assert (await notes.get(note.id)).board_code == "b"
    assert await notes.find(board_code="a") == []


async def test_a_statement_inside_of_another_is_seen(house: House) -> None:
    key = await a_task(house)
    task = house.timber.registry.get_model("Task").__table__
    changed = sa.update(task).values(status="done").returning(task.c.id).cte("changed")
    async with house.timber.unit_of_work() as uow:
        await uow.session.execute(sa.select(changed.c.id))
    assert (await house.tasks.get(key)).status == "done"


async def test_a_flush_belongs_to_the_unit_of_work_of_its_session(house: House) -> None:
    key = await a_task(house)
    task = house.timber.registry.get_model("Task")
    async with house.timber.unit_of_work() as outer:
        found = await outer.session.get(task, key)
        found.number = 2
        async with house.timber.unit_of_work(independent=True):
            await outer.session.flush()
    assert (await house.tasks.get(key)).number == 2
