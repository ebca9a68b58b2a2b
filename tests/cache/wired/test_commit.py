"""The owed row of a unit of work goes with its COMMIT, and fails with it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest

from tests.cache.wired.conftest import MakeHouse
from tests.cache.wired.house import House
from timber import DatabaseError
from timber.database.statements import Statement
from timber.repository.rows import new_key

STRANGE = ['a"b', "c\\d", "O'Brien", "{x},y", "$owed$", "größe 🪵", "NULL", "", "; COMMIT; --"]


async def names(house: House) -> list[Any]:
    sql = "SELECT names FROM timber_owed ORDER BY made_at"
    return [row["names"] for row in await house.timber.db.fetch(Statement(sql, label="owed"))]


@pytest.fixture
async def house(make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch) -> House:
    """A process that never pays."""
    house = await make_house()

    async def nothing(*_: object, **__: object) -> None:
        pass

    owing: Any = house.timber.cache.owing
    monkeypatch.setattr(owing, "replay", nothing)
    monkeypatch.setattr(owing, "delete_settled", nothing)
    return house


async def test_names_of_any_kind_arrive_as_they_are(house: House) -> None:
    async with house.timber.unit_of_work() as unit:
        await house.projects.insert({"user_id": "ann", "title": "t"})
        unit.invalidate("Task", tags=STRANGE)
    [owed] = await names(house)
    assert owed[-len(STRANGE) :] == STRANGE


async def test_it_is_no_message_of_its_own(house: House) -> None:
    sent: list[str] = []
    house.timber.db.monitor.listeners.append(lambda label, *_: sent.append(label))
    async with house.timber.unit_of_work():
        await house.projects.insert({"user_id": "ann", "title": "t"})
        await house.projects.insert({"user_id": "bob", "title": "t"})
    assert sent == ["insert Project", "insert Project"]
    assert len(await names(house)) == 1
    async with house.timber.unit_of_work() as unit:
        unit.invalidate("Task")  # and nothing else: there is no COMMIT to go with
    assert (await names(house))[-1] == ["Task"]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_row_is_named_by_its_key_only_where_that_may_have_been_asked_for(
    house: House, alone: bool
) -> None:
    """Nobody can hold a copy, not even of there being none, under a key that was made with the row."""
    key = new_key()
    around: Any = nullcontext() if alone else house.timber.unit_of_work()
    async with around:
        await house.projects.insert({"user_id": "ann", "title": "made here"})
        await house.projects.insert({"user_id": "bob", "title": "given"}, id=key)
        await house.timber.service("Comment").create({"text": "hangs on no tag"})
    tags = [f"projects.user_id:{user}" for user in ("ann", "bob")]
    owed = [sorted(names) for names in await names(house)]
    assert owed == (
        [[tags[0]], sorted([f"Project:{key}", tags[1]])]
        if alone
        else [sorted([f"Project:{key}", *tags])]
    )


async def test_what_cannot_be_owed_is_not_committed(house: House) -> None:
    await house.timber.db.execute(Statement("ALTER TABLE timber_owed RENAME TO gone", label="x"))
    try:
        for _ in range(3):
            unit = house.timber.unit_of_work()
            with pytest.raises(DatabaseError):
                async with unit:
                    await house.projects.insert({"user_id": "ann", "title": "t"})
            assert unit.outcome == "rolled_back"
        with pytest.raises(DatabaseError):
            await house.projects.insert({"user_id": "ann", "title": "t"})
        # The connections are as good as before.
        assert await house.projects.count(user_id="ann", fresh=True) == 0
        assert house.timber.db.get_pool_status()["checked_out"] == 0
    finally:
        await house.timber.db.execute(
            Statement("ALTER TABLE gone RENAME TO timber_owed", label="x")
        )
    await house.projects.insert({"user_id": "ann", "title": "t"})


async def test_a_part_of_somebody_elses_transaction_is_seen_when_that_is_committed(
    house: House,
) -> None:
    key = (await house.projects.insert({"user_id": "ann", "title": "old"})).id
    cache: Any = house.timber.cache
    async with house.timber.db.engine.connect() as connection, connection.begin():
        async with house.timber.db.unit_of_work(connection=connection):
            await house.projects.update(key, {"title": "new"})
        assert (await house.projects.get(key)).title == "old"
    await type(cache.owing).replay(cache.owing)
    await asyncio.sleep(0.3)  # the writer's own time to clear it
    await type(cache.owing).replay(cache.owing)
    assert (await house.projects.get(key)).title == "new"
