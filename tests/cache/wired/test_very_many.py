"""Writes of very many rows: what they owe does not grow with them, and nothing that was kept of them is old."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.cache.wired.conftest import MakeHouse
from tests.cache.wired.house import House
from timber.cache.coherence.changes import MOST, Changes
from timber.database.statements import Statement

Write = Callable[[House], Awaitable[object]]

HOW_MANY = [3_000, pytest.param(120_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
MOST_MEMORY = 4 * 1024 * 1024
"""Bytes, whatever the number of rows."""


async def _fill(house: House, how_many: int) -> None:
    """Rows of very many users, each of whom is a tag."""
    sql = (
        "INSERT INTO tasks (id, user_id, status, number, details, version, created_at, updated_at) "
        "SELECT gen_random_uuid(), 'user-' || n, 'open', 0, '{}', 1, now(), now() "
        "FROM generate_series(1, $1::int) AS n"
    )
    await house.timber.db.execute(Statement(sql, label="fill"), [how_many])
    await house.timber.cache.invalidate("Task")


async def _update(house: House) -> object:
    return await house.tasks.update_where({"number": 1}, house.tasks.where.number == 0)


async def _delete(house: House) -> object:
    return await house.tasks.delete_where(house.tasks.where.number == 0)


async def _peak(work: Awaitable[object]) -> int:
    tracemalloc.start()
    try:
        await work
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("how_many", HOW_MANY)
@pytest.mark.parametrize("in_a_unit", [False, True], ids=["alone", "in a unit"])
@pytest.mark.parametrize("write", [_update, _delete])
async def test_a_write_of_very_many_rows_owes_all_of_their_model(
    make_house: MakeHouse,
    write: Write,
    in_a_unit: bool,
    how_many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house, other = await make_house(), await make_house()
    await _fill(house, how_many)
    before = await other.tasks.find(user_id="user-7")
    assert [task.number for task in before] == [0]
    key = before[0].id
    assert (await house.tasks.get(key)).number == 0
    begun: list[tuple[str, ...]] = []
    begin = house.timber.cache.writing.begin

    def noting(changes: Changes, **options: bool) -> tuple[str, ...]:
        begun.append(changes.names)
        return begin(changes, **options)

    monkeypatch.setattr(house.timber.cache.writing, "begin", noting)

    async def work() -> None:
        if not in_a_unit:
            await write(house)
            return
        async with house.timber.unit_of_work():
            await write(house)
            await house.tasks.insert({"user_id": "user-7", "number": 2}, id=uuid4())

    assert await _peak(work()) < MOST_MEMORY
    [names] = begun
    assert "Task" in names
    assert len(names) < MOST
    task = await house.tasks.get_or_none(key, include_deleted=True)
    assert task == await house.tasks.get_or_none(key, include_deleted=True, fresh=True)
    listed = await house.tasks.find(user_id="user-7")
    assert listed == await house.tasks.find(user_id="user-7", fresh=True)
    assert listed != before
