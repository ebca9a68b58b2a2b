"""Every way of writing tells the caches: what they answer is what the database answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tests.cache.wired.conftest import MakeHouse
from tests.cache.wired.house import House
from timber.database.statements import Statement
from timber.repository.scheduling import Rounds

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEW = uuid4()


class Scene:
    """A house with rows in it, and what is known of them."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.tasks: list[UUID] = []
        self.projects: list[UUID] = []

    async def furnish(self) -> None:
        house = self.house
        self.projects = [
            (await house.projects.insert({"user_id": user, "title": "P"})).id
            for user in ("ann", "bob")
        ]
        rows = [
            {
                "user_id": "ann" if n % 2 else "bob",
                "project_id": self.projects[n % 2],
                "status": ("open", "doing", "done")[n % 3],
                "number": n,
                "code": f"c{n}",
                "details": {"place": "here" if n % 2 else "there", "n": n},
                "tags": [f"t{n}"],
                "every": timedelta(hours=n),
                "due_at": NOW,
            }
            for n in range(4)
        ]
        self.tasks = await house.tasks.insert_many(rows)
        await house.remarks.insert_many([{"task_id": key, "text": "R"} for key in self.tasks])
        self.tasks.append(NEW)  # asked for before it is there

    async def answers(self, house: House | None = None, *, fresh: bool = False) -> dict[str, Any]:
        asked = house or self.house
        return await asked.everything(self.tasks, self.projects, fresh=fresh)


Write = Callable[[Scene], Awaitable[object]]


def _task(**values: object) -> dict[str, Any]:
    return {"user_id": "ann", "details": {"place": "here"}, "number": 9, **values}


async def _upserts_a_known_one(scene: Scene) -> None:
    await scene.house.tasks.upsert(_task(code="c1", status="done"), on="code")


async def _raw(scene: Scene) -> None:
    async with scene.house.timber.db.join_or_begin() as unit:
        key = scene.tasks[0]
        sql = Statement("UPDATE tasks SET number = 77 WHERE id = $1", label="raw")
        await scene.house.timber.db.execute(sql, [key])
        unit.invalidate("Task", ids=[key], tags=["tasks_of:bob"])
        unit.invalidate("Task")


async def _orm(scene: Scene) -> None:
    async with scene.house.timber.db.join_or_begin() as unit:
        model = scene.house.timber.registry.get_model("Task")
        task = await unit.session.get_one(model, scene.tasks[1])
        task.status, task.user_id, task.details = "done", "bob", {"place": "there"}
        unit.session.add(model(id=NEW, **_task(version=1, created_at=NOW, updated_at=NOW)))


async def _orm_deletion(scene: Scene) -> None:
    async with scene.house.timber.db.join_or_begin() as unit:
        model = scene.house.timber.registry.get_model("Project")
        await unit.session.delete(await unit.session.get_one(model, scene.projects[0]))


async def _orm_bulk(scene: Scene) -> None:
    async with scene.house.timber.db.join_or_begin() as unit:
        model = scene.house.timber.registry.get_model("Task")
        await unit.session.execute(sa.update(model).values(number=8, user_id="bob"))


async def _core(scene: Scene) -> None:
    async with scene.house.timber.db.join_or_begin() as unit:
        table = scene.house.timber.registry.table("Project")
        connection = await unit.session.connection()
        await connection.execute(sa.delete(table).where(table.c.user_id == "ann"))


async def _own_session(scene: Scene) -> None:
    model = scene.house.timber.registry.get_model("Task")
    async with scene.house.timber.db.get_session() as session:
        async with session.begin_nested():
            (await session.get_one(model, scene.tasks[0])).number = 70
        task = await session.get_one(model, scene.tasks[1])
        task.user_id = "bob"
        await session.commit()
        await session.execute(sa.delete(model).where(model.id == scene.tasks[2]))
        connection = await session.connection()
        projects = scene.house.timber.registry.table("Project")
        await connection.execute(sa.update(projects).values(title="core"))
        await session.commit()


ROUNDS = Rounds(done="done_at", due="due_at", every="every")


async def _finishes(scene: Scene) -> None:
    tasks = scene.house.tasks
    claimed = await tasks.claim(limit=3, lease=timedelta(seconds=60), order_by="number")
    await tasks.release(claimed[0].id)
    keys = [task.id for task in claimed]
    move = ("status", "open", "done")
    await tasks.finish(keys, at=NOW, rounds=ROUNDS, moved=keys, move=move)


async def _restores(scene: Scene) -> None:
    await scene.house.tasks.delete(scene.tasks[0])
    await scene.answers()
    await scene.house.tasks.restore(scene.tasks[0])


WRITES: dict[str, Write] = {
    "insert": lambda s: s.house.tasks.insert(_task(), id=NEW),
    "insert with a key of its own": lambda s: s.house.tasks.insert(_task()),
    "insert of a row whose key PostgreSQL makes": lambda s: s.house.remarks.insert(
        {"task_id": s.tasks[0], "text": "new"}
    ),
    "insert_many": lambda s: s.house.tasks.insert_many([_task(id=NEW), _task(user_id="bob")]),
    "insert_many of rows whose keys PostgreSQL makes": lambda s: s.house.remarks.insert_many(
        [{"task_id": key, "text": "new"} for key in s.tasks[:3]]
    ),
    "insert_many_returning": lambda s: s.house.tasks.insert_many_returning([_task(id=NEW)]),
    "update": lambda s: s.house.tasks.update(s.tasks[0], {"number": 50}),
    "update of what a list goes by": lambda s: s.house.tasks.update(
        s.tasks[0], {"user_id": "ann", "status": "done", "project_id": s.projects[1]}
    ),
    "update of what a generated column is made of": lambda s: s.house.tasks.update(
        s.tasks[0], {"details": {"place": "here"}}, merge="details"
    ),
    "update_where": lambda s: s.house.tasks.update_where({"number": 60}, user_id="ann"),
    "update_where of what a list goes by": lambda s: s.house.tasks.update_where(
        {"user_id": "bob"}, s.house.tasks.where.number > 1
    ),
    "upsert of a new one": lambda s: s.house.tasks.upsert(_task(id=NEW, code="new"), on="code"),
    "upsert of a known one": _upserts_a_known_one,
    "upsert by the key": lambda s: s.house.projects.upsert(
        {"id": s.projects[0], "user_id": "ann", "title": "Q"}
    ),
    "delete": lambda s: s.house.tasks.delete(s.tasks[0]),
    "hard delete": lambda s: s.house.tasks.delete(s.tasks[0], hard=True),
    "delete of what others go with": lambda s: s.house.projects.delete(s.projects[0]),
    "delete_where": lambda s: s.house.tasks.delete_where(user_id="bob"),
    "hard delete_where": lambda s: s.house.tasks.delete_where(user_id="bob", hard=True),
    "delete_where of what others go with": lambda s: s.house.projects.delete_where(user_id="bob"),
    "trim": lambda s: s.house.tasks.trim(s.house.tasks.where.number < 3, limit=2),
    "claim and finish": _finishes,
    "restore": _restores,
    "raw SQL that is told": _raw,
    "ORM": _orm,
    "deletion by the ORM": _orm_deletion,
    "bulk update by the ORM": _orm_bulk,
    "statement of Core": _core,
    "a session of its own": _own_session,
}
ALONE = [name for name in WRITES if name != "a session of its own"]


SOME = ["insert", "update_where", "ORM", "a session of its own", "delete of what others go with"]
SLOW = pytest.mark.slow


@pytest.fixture
async def scene(make_house: MakeHouse, level: str) -> Scene:
    scene = Scene(await (make_house() if level == "redis" else make_house("memory")))
    await scene.furnish()
    return scene


async def _is_told(scene: Scene, write: Write) -> None:
    before = await scene.answers()
    assert before == await scene.answers(fresh=True)
    await write(scene)
    assert await scene.answers() == await scene.answers(fresh=True)


@pytest.mark.parametrize("level", ["redis", pytest.param("memory", marks=SLOW)])
@pytest.mark.parametrize("name", WRITES)
async def test_a_write_by_itself_is_seen_when_it_returns(scene: Scene, name: str) -> None:
    await _is_told(scene, WRITES[name])


@pytest.mark.parametrize("level", ["memory", pytest.param("redis", marks=SLOW)])
@pytest.mark.parametrize("name", ALONE)
async def test_a_write_in_a_unit_of_work_is_seen_when_that_has_committed(
    scene: Scene, name: str
) -> None:
    async def inside(scene: Scene) -> None:
        async with scene.house.timber.unit_of_work() as unit:
            async with unit.savepoint():
                await WRITES[name](scene)
            # A unit of work reads the database.
            assert await scene.answers() == await scene.answers(fresh=True)

    await _is_told(scene, inside)


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=SLOW) for name in WRITES]
)
async def test_another_process_hears_of_a_write(make_house: MakeHouse, name: str) -> None:
    scene, other = Scene(await make_house()), await make_house()
    await scene.furnish()
    assert await scene.answers(other) == await scene.answers(other, fresh=True)
    await WRITES[name](scene)
    async with asyncio.timeout(5):
        while await scene.answers(other) != await scene.answers(other, fresh=True):
            await asyncio.sleep(0.01)
    assert scene.house.timber.cache.stats()["clears_failed"] == 0
