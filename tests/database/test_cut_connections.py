"""A connection cut at every byte, in both directions: nothing doubled, nothing lost, nothing unresolved."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DELETE,
    FIND,
    INSERT_SILENTLY,
    STAMP,
    UPDATE,
    Entry,
    Observer,
    assert_nothing_is_held,
    by_key,
    by_token,
    insert,
)
from tests.harness.proxy import Direction, Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import Fetch, Verdict, outcome_of
from timber.database.unit_of_work import UnitOfWork
from timber.errors import CommitOutcomeUnknownError, ServiceError, UnavailableError

Record = Callable[[str, object], None]
Work = Callable[[], Awaitable[None]]
Check = Callable[[BaseException | None], Awaitable[str]]
Attempt = Callable[[], Awaitable[tuple[Work, Check]]]

both_directions = pytest.mark.parametrize("direction", ["to_server", "to_client"])
how_many = pytest.mark.parametrize(
    "cuts",
    [pytest.param(12), pytest.param(None, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["some bytes", "every byte"],
)


async def cut_everywhere(
    db: AsyncDatabaseManager,
    proxy: Proxy,
    direction: Direction,
    cuts: int | None,
    attempt: Attempt,
    *,
    cold: bool = False,
) -> Counter[str]:
    """Cut one attempt after each number of bytes that it takes, or after some of these numbers."""
    counts: Counter[str] = Counter()
    size = 0
    for _ in range(2):
        work, check = await attempt()
        await _connect_anew(db, proxy, cold)
        before = proxy.passed[direction]
        await work()
        size = max(size, proxy.passed[direction] - before)
        assert await check(None) == "done"
    step = 1 if cuts is None else max(1, size // cuts)
    for count in range(random.randrange(step), size + 1, step):
        work, check = await attempt()
        await _connect_anew(db, proxy, cold)
        proxy.cut_after(count, direction, reset=random.random() < 0.5)
        error: BaseException | None = None
        try:
            await work()
        except ServiceError as raised:
            error = raised
        proxy.heal()
        counts[await check(error)] += 1
        counts["cuts"] += 1
        assert_nothing_is_held(db)
    return counts


async def _connect_anew(db: AsyncDatabaseManager, proxy: Proxy, cold: bool) -> None:
    await db.dispose()
    if not cold:
        await db.ping()


async def _raw(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    await insert(db, note)
    await db.write(UPDATE, (key, 1))


async def _with_savepoints(
    db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID
) -> None:
    async with unit.savepoint():
        await insert(db, note)
    async with db.unit_of_work():
        await db.write(UPDATE, (key, 1))


async def _with_the_orm(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    unit.session.add(Entry(note=note))
    await unit.session.flush()
    entry = await unit.session.get_one(Entry, key)
    entry.amount += 1


async def _without_an_id(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    await db.copy("entry", ["id", "note"], [(uuid4(), note)])
    await db.execute(UPDATE, (key, 1))


@how_many
@both_directions
@pytest.mark.parametrize(
    "body", [_raw, _with_savepoints, _with_the_orm, _without_an_id], ids=lambda b: b.__name__
)
async def test_a_unit_of_work_run_by_run_happens_exactly_once(
    *,
    make_db: MakeDb,
    proxy: Proxy,
    observer: Observer,
    direction: Direction,
    cuts: int | None,
    body: Any,
    record_property: Record,
):
    db = make_db(proxy.url)

    async def attempt() -> tuple[Work, Check]:
        note, key = uuid4().hex, uuid4()
        await observer.connection.execute("INSERT INTO entry (id) VALUES ($1)", key)
        units: list[UnitOfWork] = []

        async def in_unit(unit: UnitOfWork) -> None:
            units.append(unit)
            await body(db, unit, note, key)

        async def check(error: BaseException | None) -> str:
            assert error is None, repr(error)
            assert await observer.value("SELECT count(*) FROM entry WHERE note = $1", note) == 1
            assert await observer.value("SELECT amount FROM entry WHERE id = $1", key) == 1
            outcomes = [unit.outcome for unit in units]
            assert outcomes == ["rolled_back"] * (len(units) - 1) + ["committed"]
            return "done" if len(units) == 1 else "run again"

        return lambda: db.run(in_unit), check

    counts = await cut_everywhere(db, proxy, direction, cuts, attempt)
    assert counts["done"] + counts["run again"] == counts["cuts"]
    record_property("counts", dict(counts))


@how_many
@both_directions
async def test_the_handshake_too(
    *,
    make_db: MakeDb,
    proxy: Proxy,
    observer: Observer,
    direction: Direction,
    cuts: int | None,
    record_property: Record,
):
    db = make_db(proxy.url)

    async def attempt() -> tuple[Work, Check]:
        note = uuid4().hex

        async def check(error: BaseException | None) -> str:
            assert error is None, repr(error)
            assert await observer.value("SELECT count(*) FROM entry WHERE note = $1", note) == 1
            return "done"

        return lambda: db.run(lambda _: insert(db, note)), check

    counts = await cut_everywhere(db, proxy, direction, cuts, attempt, cold=True)
    record_property("counts", dict(counts))


@how_many
@both_directions
@pytest.mark.parametrize("verb", ["insert", "update", "delete", "copy", "read"])
async def test_a_lone_statement_that_can_be_checked_happens_exactly_once(
    *,
    make_db: MakeDb,
    proxy: Proxy,
    observer: Observer,
    direction: Direction,
    cuts: int | None,
    verb: str,
    record_property: Record,
):
    db = make_db(proxy.url)

    async def attempt() -> tuple[Work, Check]:
        key, new, token = uuid4(), uuid4(), random.getrandbits(60)
        await observer.connection.execute("INSERT INTO entry (id) VALUES ($1)", key)

        async def gone(fetch: Fetch) -> Verdict:
            found = await fetch(FIND, (key,))
            return ("rolled_back", ()) if found else ("committed", [{"id": key}])

        async def all_there(fetch: Fetch) -> Verdict:
            verdict, rows = await by_key(new)(fetch)
            return verdict, rows

        async def work() -> None:
            if verb == "insert":
                assert await insert(db, key=new) == new
            elif verb == "update":
                rows = await db.write(STAMP, (key, token), check=by_token(key, token))
                assert rows[0]["amount"] == 1
            elif verb == "delete":
                assert (await db.write(DELETE, (key,), check=gone))[0]["id"] == key
            elif verb == "copy":
                await db.copy("entry", ["id"], [(new,), (uuid4(),)], check=all_there)
            else:
                assert (await db.fetch(FIND, (key,)))[0]["amount"] == 0

        async def check(error: BaseException | None) -> str:
            assert error is None, repr(error)
            if verb in {"insert", "copy"}:
                assert new in await observer.keys()
            elif verb == "update":
                row = await observer.connection.fetchrow("SELECT * FROM entry WHERE id = $1", key)
                assert row is not None
                assert (row["amount"], row["token"]) == (1, token)
            elif verb == "delete":
                assert key not in await observer.keys()
            return "done"

        return work, check

    counts = await cut_everywhere(db, proxy, direction, cuts, attempt)
    record_property("counts", dict(counts))


@how_many
@both_directions
async def test_a_lone_write_that_cannot_be_checked_is_never_repeated(
    *,
    make_db: MakeDb,
    proxy: Proxy,
    observer: Observer,
    direction: Direction,
    cuts: int | None,
    record_property: Record,
):
    db = make_db(proxy.url)

    async def attempt() -> tuple[Work, Check]:
        note = uuid4().hex

        async def work() -> None:
            await db.execute(INSERT_SILENTLY, (uuid4(), note))

        async def check(error: BaseException | None) -> str:
            there = await observer.value("SELECT count(*) FROM entry WHERE note = $1", note)
            if error is None:
                assert there == 1
                return "done"
            assert isinstance(error, CommitOutcomeUnknownError)
            assert outcome_of(error) == "unknown"
            assert there in {0, 1}
            return "unknown, and there" if there else "unknown, and not there"

        return work, check

    counts = await cut_everywhere(db, proxy, direction, cuts, attempt)
    record_property("counts", dict(counts))


@how_many
@both_directions
@pytest.mark.parametrize("body", [_raw, _with_the_orm, _without_an_id], ids=lambda b: b.__name__)
async def test_the_outcome_of_a_single_unit_of_work_agrees_with_the_table(
    *,
    make_db: MakeDb,
    proxy: Proxy,
    observer: Observer,
    direction: Direction,
    cuts: int | None,
    body: Any,
    record_property: Record,
):
    db = make_db(proxy.url)

    async def attempt() -> tuple[Work, Check]:
        note, key = uuid4().hex, uuid4()
        await observer.connection.execute("INSERT INTO entry (id) VALUES ($1)", key)
        uow = db.unit_of_work()

        async def work() -> None:
            async with uow:
                await body(db, uow, note, key)

        async def check(error: BaseException | None) -> str:
            there = await observer.value("SELECT count(*) FROM entry WHERE note = $1", note)
            amount = await observer.value("SELECT amount FROM entry WHERE id = $1", key)
            assert there == amount == (uow.outcome == "committed")
            if error is None:
                assert uow.outcome == "committed"
                return "done"
            assert isinstance(error, UnavailableError)
            assert uow.outcome == outcome_of(error) == "rolled_back"
            return "rolled back"

        return work, check

    counts = await cut_everywhere(db, proxy, direction, cuts, attempt)
    assert counts["done"] + counts["rolled back"] == counts["cuts"]
    record_property("counts", dict(counts))
