"""The shapes that a scope can have, each noting what it writes and in which unit of work."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import uuid4

from sqlalchemy import select, text

from tests.database.ledger import (
    DELETE,
    INSERT_CODE,
    INSERT_SILENTLY,
    CallerError,
    Entry,
    insert,
)
from tests.database.scene import Effect, Scene, Shape
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import ConflictError

SOME = Statement("SELECT id FROM entry LIMIT 3", label="list entries")


async def empty(scene: Scene) -> None:
    async with scene.unit() as uow, uow.savepoint():
        await asyncio.sleep(0)


async def reads_only(scene: Scene) -> None:
    async with scene.unit():
        await scene.db.fetch(SOME)
        await scene.db.fetch(SOME)


async def one_write(scene: Scene) -> None:
    async with scene.unit() as uow:
        await scene.insert(uow)


async def several_writes(scene: Scene) -> None:
    async with scene.unit() as uow:
        await scene.insert(uow)
        await scene.db.fetch(SOME)
        await scene.stamp(uow)
        await scene.db.execute(INSERT_SILENTLY, (scene.key(uow), "x"))


async def serializable(scene: Scene) -> None:
    async with scene.unit(isolation="serializable", statement_timeout=5) as uow:
        await scene.insert(uow)


async def a_savepoint(scene: Scene) -> None:
    async with scene.unit() as uow:
        await scene.insert(uow)
        async with uow.savepoint():
            await scene.insert(uow)
        await scene.insert(uow)


async def a_savepoint_undone(scene: Scene) -> None:
    async with scene.unit() as uow:
        await scene.insert(uow)
        with suppress(CallerError):
            async with uow.savepoint():
                await insert(scene.db, key=scene.key(None, never=True))
                raise CallerError
        with suppress(ConflictError):
            async with uow.savepoint():
                code = uuid4().hex
                await scene.db.write(INSERT_CODE, (scene.key(None, never=True), code))
                await scene.db.write(INSERT_CODE, (scene.key(None, never=True), code))
        await scene.insert(uow)


async def rolled_back(scene: Scene) -> None:
    with suppress(CallerError):
        async with scene.unit():
            await insert(scene.db, key=scene.key(scene.units[0], never=True))
            raise CallerError


async def nested(scene: Scene) -> None:
    async with scene.unit() as outer:
        await scene.insert(outer)
        async with scene.unit() as middle:
            await scene.insert(middle)
            async with scene.unit() as inner:
                await scene.insert(inner)
        await scene.insert(outer)


async def orm_session(scene: Scene) -> None:
    async with scene.unit() as uow:
        uow.session.add(Entry(id=scene.key(uow)))
        await uow.session.flush()
        await uow.session.scalars(select(Entry).limit(1))
        uow.session.add(Entry(id=scene.key(uow)))


async def orm_and_raw(scene: Scene) -> None:
    async with scene.unit() as uow:
        await scene.insert(uow)
        uow.session.add(Entry(id=scene.key(uow)))
        await uow.session.flush()
        await scene.insert(uow)


async def orm_with_savepoints(scene: Scene) -> None:
    async with scene.unit() as uow:
        uow.session.add(Entry(id=scene.key(uow)))
        async with uow.savepoint():
            uow.session.add(Entry(id=scene.key(uow)))
            await scene.insert(uow)
        with suppress(CallerError):
            async with uow.savepoint():
                uow.session.add(Entry(id=scene.key(None, never=True)))
                await uow.session.flush()
                raise CallerError
        await scene.insert(uow)


async def orm_inside_a_savepoint(scene: Scene) -> None:
    async with scene.unit() as outer:
        await scene.insert(outer)
        async with scene.unit() as inner:
            inner.session.add(Entry(id=scene.key(inner)))
        outer.session.add(Entry(id=scene.key(outer)))


async def session_scope(scene: Scene) -> None:
    async with scene.db.session_scope() as session:
        unit = scene.db.current()
        assert unit is not None
        scene.note(unit)
        session.add(Entry(id=scene.key(unit)))
        await session.execute(text("SELECT 1"))
        await scene.insert(unit)


async def independent(scene: Scene) -> None:
    async with scene.unit() as outer:
        await scene.insert(outer)
        async with scene.unit(independent=True) as inner:
            await scene.insert(inner)
        await scene.insert(outer)


async def lone_read(scene: Scene) -> None:
    await scene.db.fetch(SOME)


async def lone_insert(scene: Scene) -> None:
    await scene.insert(None)


async def lone_update(scene: Scene) -> None:
    await scene.stamp(None)


async def lone_delete(scene: Scene) -> None:
    key = scene.existing[0]
    scene.effects.append(Effect(None, "SELECT NOT EXISTS (SELECT FROM entry WHERE id = $1)", key))
    await scene.db.write(DELETE, (key,))


async def lone_execute(scene: Scene) -> None:
    await scene.db.execute(INSERT_SILENTLY, (scene.key(None), "x"))


async def lone_copy(scene: Scene) -> None:
    rows = [(scene.key(None), "x") for _ in range(3)]
    await scene.db.copy("entry", ["id", "note"], rows)


async def copy(scene: Scene) -> None:
    async with scene.unit() as uow:
        rows = [(scene.key(uow), "x") for _ in range(3)]
        await scene.db.copy("entry", ["id", "note"], rows)


async def stream(scene: Scene) -> None:
    async with scene.db.cursor(SOME, batch=2) as batches:
        async for _ in batches:
            pass


async def stream_inside(scene: Scene) -> None:
    async with scene.unit() as uow:
        await scene.insert(uow)
        async with scene.db.cursor(SOME, batch=2) as batches:
            async for _ in batches:
                pass
        await scene.insert(uow)


async def run(scene: Scene) -> None:
    async def body(unit: UnitOfWork) -> None:
        scene.note(unit)
        await scene.insert(unit)
        await scene.stamp(unit)

    await scene.db.run(body, isolation="serializable")


async def callbacks(scene: Scene) -> None:
    async def called() -> None:
        await asyncio.sleep(0)
        scene.called += 1

    async with scene.unit() as uow:
        await scene.insert(uow)
        uow.on_commit(called)
        uow.on_commit(called)


async def callbacks_that_write(scene: Scene) -> None:
    async def write() -> None:
        await insert(scene.db)
        scene.called += 1

    async with scene.unit() as uow:
        await scene.insert(uow)
        uow.on_commit(write)


async def joined(scene: Scene) -> None:
    async with scene.db.join_or_begin() as uow:
        scene.note(uow)
        await scene.insert(uow)
        async with scene.db.join_or_begin() as same:
            assert same is uow
            await scene.insert(uow)


async def pool_wait(scene: Scene) -> None:
    """Somebody else has all the connections, and gives them back a moment later."""
    holding, release = asyncio.Event(), asyncio.Event()
    capacity = scene.db.settings.pool_size + scene.db.settings.max_overflow

    async def hold() -> None:
        links = [
            await scene.db._core.connections.acquire() for _ in range(capacity - (capacity > 1))
        ]
        holding.set()
        await release.wait()
        for link in links:
            scene.db._core.connections.release(link)

    scene.holder = asyncio.create_task(hold())
    asyncio.get_running_loop().call_later(0.005, release.set)
    await holding.wait()
    async with scene.unit() as uow:
        await scene.insert(uow)


async def pool_wait_of_a_lone_write(scene: Scene) -> None:
    link = await scene.db._core.connections.acquire()
    loop = asyncio.get_running_loop()
    loop.call_soon(scene.db._core.connections.release, link)
    await scene.insert(None)


async def ping(scene: Scene) -> None:
    await scene.db.ping()


async def explain_analyze(scene: Scene) -> None:
    await scene.db.explain(text("DELETE FROM entry"), analyze=True)


SHAPES: tuple[Shape, ...] = (
    empty, reads_only, one_write, several_writes, serializable, a_savepoint, a_savepoint_undone,
    rolled_back, nested, orm_session, orm_and_raw, orm_with_savepoints, orm_inside_a_savepoint,
    session_scope, independent, lone_read, lone_insert, lone_update, lone_delete, lone_execute,
    lone_copy, copy, stream, stream_inside, run, callbacks, callbacks_that_write, joined, ping,
    explain_analyze,
)  # fmt: skip
SCARCE: tuple[Shape, ...] = (pool_wait, pool_wait_of_a_lone_write)
"""These want a small pool."""
