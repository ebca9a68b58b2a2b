"""What is repeated, how often and how long; always a whole transaction."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DIVIDE,
    INSERT,
    UPDATE,
    CallerError,
    Observer,
    add,
    assert_nothing_is_held,
    by_key,
    insert,
)
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.retry import TRANSIENT, trouble_of
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    CommitOutcomeUnknownError,
    ConflictError,
    DatabaseError,
    PoolTimeoutError,
    QueryTimeoutError,
    SerializationError,
    ServiceError,
    UnavailableError,
    ValidationError,
)

CONFLICTS = ["40001", "40P01"]
OUTAGES = [
    "08000", "08001", "08003", "08004", "08006", "08007", "25006", "53300", "57P01", "57P02",
    "57P03", "57P05",
]  # fmt: skip
FINAL = [
    "22003", "22012", "22P02", "23502", "23503", "23505", "23514", "23P01", "25P02", "28P01",
    "3D000", "42501", "42601", "42703", "42804", "42P01", "53100", "53200", "54000", "55P03",
    "57014", "58030", "XX000", "P0001", "0A000",
]  # fmt: skip


def raising(state: str) -> Statement:
    return Statement(
        f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$", label="raise"
    )


async def attempts(db: AsyncDatabaseManager, body: Any, **options: Any) -> tuple[int, ServiceError]:
    """How often ``run`` tries something that always fails, and what it raises in the end."""
    count = 0

    async def counted(unit: UnitOfWork) -> None:
        nonlocal count
        count += 1
        await body(unit)

    with pytest.raises(ServiceError) as caught:
        await db.run(counted, **options)
    return count, caught.value


@pytest.mark.parametrize("state", [*CONFLICTS, *OUTAGES, *FINAL])
async def test_the_policy_for_each_sqlstate(make_db: MakeDb, observer: Observer, state: str):
    db = make_db(conflict_attempts=4, outage_attempts=3)

    async def body(unit: UnitOfWork) -> None:
        await insert(db, state)
        await db.execute(raising(state))

    count, error = await attempts(db, body)
    assert count == (4 if state in CONFLICTS else 3 if state in OUTAGES else 1)
    assert await observer.count() == 0
    assert outcome_of(error) == "rolled_back"
    if isinstance(error, DatabaseError | ConflictError):
        assert error.sqlstate == state
    assert_nothing_is_held(db)


def test_the_table_holds_what_was_tried():
    told = {state for state, row in TRANSIENT.items() if row.condition is None}
    assert told == {*CONFLICTS, *OUTAGES}
    assert {state for state, row in TRANSIENT.items() if row.condition} == {"55P03", "0A000"}


def test_what_is_final_by_its_kind():
    assert trouble_of(CommitOutcomeUnknownError()) is None
    assert trouble_of(CallerError()) is None
    assert trouble_of(asyncio.CancelledError()) is None
    assert trouble_of(TimeoutError()) is None
    assert trouble_of(None) is None
    assert trouble_of(ValidationError()) is None
    assert trouble_of(PoolTimeoutError()) == "outage"
    assert trouble_of(UnavailableError()) == "outage"
    assert trouble_of(SerializationError(sqlstate="40001")) == "conflict"
    for outcome in ("committed", "unknown"):
        settled = UnavailableError()
        settled.outcome = outcome  # type: ignore[assignment]
        assert trouble_of(settled) is None, "whatever it was, it must not be done again"


async def test_by_default_conflicts_are_tried_five_times_and_outages_three(make_db: MakeDb):
    db = make_db()
    count, _ = await attempts(db, lambda _: db.execute(raising("40001")))
    assert count == 5
    count, _ = await attempts(db, lambda _: db.execute(raising("57P03")))
    assert count == 3


async def test_a_lock_that_is_not_free_is_a_conflict_only_if_asked_for(
    db: AsyncDatabaseManager, observer: Observer
):
    key = await insert(db)
    async with observer.connection.transaction():
        await observer.connection.execute("SELECT FROM entry WHERE id = $1 FOR UPDATE", key)
        count, error = await attempts(db, lambda _: add(db, key, 1), lock_timeout=0.01)
        assert (count, type(error)) == (1, QueryTimeoutError)
        count, _ = await attempts(
            db, lambda _: add(db, key, 1), lock_timeout=0.01, retry_locks=True
        )
        assert count == 5
    await db.run(lambda _: add(db, key, 1), lock_timeout=0.01)


async def test_what_succeeds_in_the_end_happened_once(db: AsyncDatabaseManager, observer: Observer):
    tries = 0

    async def body(unit: UnitOfWork) -> str:
        nonlocal tries
        tries += 1
        await insert(db, f"try {tries}")
        if tries < 4:
            await db.execute(raising("40001"))
        return f"from try {tries}"

    assert await db.run(body) == "from try 4"
    assert await observer.notes() == ["try 4"]


async def test_each_attempt_is_a_unit_of_work_of_its_own(db: AsyncDatabaseManager):
    units: list[UnitOfWork] = []
    called: list[str] = []

    async def body(unit: UnitOfWork) -> None:
        units.append(unit)
        unit.on_commit(lambda: called.append("commit"))
        unit.on_rollback(lambda: called.append("rollback"))
        assert db.current() is unit
        await db.execute(
            raising("40001") if len(units) < 3 else UPDATE,
            *([] if len(units) < 3 else [(uuid4(), 1)]),
        )

    await db.run(body)
    assert [unit.outcome for unit in units] == ["rolled_back", "rolled_back", "committed"]
    assert called == ["rollback", "rollback", "commit"]


async def test_what_the_body_raises_itself_is_not_repeated(
    db: AsyncDatabaseManager, observer: Observer
):
    for error in (CallerError(), TimeoutError(), OSError(), ConflictError()):
        count = 0

        async def body(unit: UnitOfWork, error: BaseException = error) -> None:
            nonlocal count
            count += 1
            await insert(db)
            raise error

        with pytest.raises(type(error)) as caught:
            await db.run(body)
        assert caught.value is error
        assert count == 1
    assert await observer.count() == 0


async def test_a_statement_in_a_unit_of_work_is_never_repeated_by_itself(
    db: AsyncDatabaseManager, observer: Observer
):
    sent: list[str] = []
    db.monitor.listeners.append(lambda label, sql, seconds: sent.append(label))
    for state in ("40001", "57P03"):
        with pytest.raises(ServiceError):
            async with db.unit_of_work():
                await db.execute(raising(state))
    assert sent == ["raise", "raise"]


async def test_the_budget_ends_it_before_a_wait_that_would_go_beyond(make_db: MakeDb):
    db = make_db(retry_budget=0.6, outage_wait=0.3, outage_wait_max=5, outage_attempts=50)
    started = time.monotonic()
    count, _ = await attempts(db, lambda _: db.execute(raising("57P03")))
    assert time.monotonic() - started < 0.6
    assert count == 2


async def test_a_deadline_is_a_budget_too(make_db: MakeDb):
    db = make_db(outage_wait=0.1, outage_wait_max=5, outage_attempts=50)
    started = time.monotonic()
    with pytest.raises(ServiceError):
        async with deadline(0.2):
            await db.run(lambda _: db.execute(raising("57P03")))
    assert time.monotonic() - started < 1


async def test_the_waits_grow_and_have_a_limit(make_db: MakeDb, monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    sleep = asyncio.sleep

    mine = asyncio.current_task()

    async def record(seconds: float) -> None:
        if asyncio.current_task() is not mine:  # what keeps the database goes on beside
            await sleep(seconds)
            return
        waits.append(seconds)
        await sleep(0)

    db = make_db(
        outage_attempts=6,
        outage_wait=1,
        outage_wait_max=10,
        conflict_wait=0.01,
        conflict_attempts=5,
        retry_budget=60,
    )
    await db.ping()
    monkeypatch.setattr(asyncio, "sleep", record)
    await attempts(db, lambda _: db.execute(raising("57P03")))
    outages, waits[:] = waits[:], []
    assert all(w <= wait <= w * 1.25 for w, wait in zip([1, 2, 4, 8, 10], outages, strict=True))
    assert len({wait / w for w, wait in zip([1, 2, 4, 8, 10], outages, strict=True)}) > 1
    await attempts(db, lambda _: db.execute(raising("40001")))
    assert len(waits) == 4
    assert all(0 <= wait <= 0.01 * 2**number for number, wait in enumerate(waits, 0)), waits
    assert len(set(waits)) > 1, "with jitter"


async def test_an_insert_repeated_after_an_outage_happens_once(
    make_db: MakeDb, proxy: Any, observer: Observer
):
    db = make_db(proxy.url)
    await insert(db, "warm")
    key = uuid4()
    proxy.cut_after(10, "to_server")
    await db.write(INSERT, (key, "x"), check=by_key(key))
    proxy.cut_after(3, "to_client")
    other = uuid4()
    await db.write(INSERT, (other, "y"), check=by_key(other))
    assert await observer.notes() == ["warm", "x", "y"]


async def test_a_lone_statement_that_fails_for_good_is_not_repeated(db: AsyncDatabaseManager):
    sent: list[str] = []
    db.monitor.listeners.append(lambda label, sql, seconds: sent.append(label))
    with pytest.raises(ValidationError):
        await db.fetch(DIVIDE, (0,))
    key = await insert(db)
    with pytest.raises(ConflictError):
        await db.write(INSERT, (key, "twice"), check=by_key(key))
    assert sent == ["divide", "insert entry", "insert entry"]


async def test_run_gives_the_options_on(db: AsyncDatabaseManager):
    async def body(unit: UnitOfWork) -> list[Any]:
        return [
            (await db.fetch(Statement(f"SHOW {name}", label="show")))[0][0]
            for name in ("transaction_isolation", "statement_timeout", "lock_timeout")
        ]

    shown = await db.run(body, isolation="repeatable read", statement_timeout=1, lock_timeout=2)
    assert shown == ["repeatable read", "1s", "2s"]
