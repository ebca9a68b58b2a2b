"""Behind a real PgBouncer: everything works in transaction mode, or says at once that it does not and what to do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DELETE,
    FIND,
    INSERT,
    KEYS,
    SLEEP,
    Entry,
    Observer,
    add,
    assert_nothing_is_held,
    insert,
)
from tests.database.pgbouncer import PoolMode, pgbouncer
from tests.database.test_listening import NOTIFY, hear, settled
from tests.harness.proxy import Direction, Proxy
from timber.cli.doctor.examining import examine
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.pgbouncer import pooler_advice
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    CommitOutcomeUnknownError,
    ConfigurationError,
    DatabaseError,
    QueryTimeoutError,
    ServiceError,
)
from timber.settings import TimberSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(params=["transaction", "session"])
async def behind_url(request: pytest.FixtureRequest, ledger_url: str) -> AsyncGenerator[str]:
    async with pgbouncer(ledger_url, request.param, size=12) as url:
        yield url


@pytest.fixture
async def transactions_url(ledger_url: str) -> AsyncGenerator[str]:
    """Fewer connections to the server than a manager has to PgBouncer, so that each goes from hand to hand."""
    async with pgbouncer(ledger_url, "transaction", size=3) as url:
        yield url


@pytest.fixture
def behind(make_db: MakeDb, behind_url: str) -> AsyncDatabaseManager:
    return make_db(behind_url, pgbouncer=True)


async def test_statements_units_of_work_and_sessions(
    behind: AsyncDatabaseManager, observer: Observer
):
    db = behind
    key = await insert(db, "alone")
    assert (await db.fetch(FIND, (key,)))[0]["note"] == "alone"
    async with db.unit_of_work() as uow:
        await insert(db, "in a unit")
        async with uow.savepoint():
            await insert(db, "in a savepoint")
        uow.session.add(Entry(id=uuid4(), note="by the ORM"))
    async with db.get_session() as session:
        notes = (await session.scalars(select(Entry.note).order_by(Entry.note))).all()
    assert notes == ["alone", "by the ORM", "in a savepoint", "in a unit"]
    await db.copy("entry", ["id", "note"], [(uuid4(), f"copied {n}") for n in range(200)])
    async with db.cursor(KEYS, batch=50) as batches:
        assert sum([len(batch) async for batch in batches]) == 204
    await db.write(DELETE, (key,))
    assert len((await db.explain(select(Entry))).nodes()) == 1
    assert await observer.count() == 203


async def test_many_tasks_on_few_connections(
    make_db: MakeDb, transactions_url: str, observer: Observer
):
    db = make_db(transactions_url, pgbouncer=True, pool_size=10, max_overflow=0)
    key = await insert(db)

    async def work(number: int) -> None:
        if number % 3 == 0:
            await db.run(lambda _: add(db, key, 1))
        elif number % 3 == 1:
            await db.fetch(FIND, (key,))
        else:
            async with db.unit_of_work() as uow:
                await uow.session.execute(text("SELECT 1"))
                await insert(db, str(number))

    await asyncio.gather(*(work(number) for number in range(150)))
    assert await observer.value("SELECT amount FROM entry WHERE id = $1", key) == 50
    assert await observer.count() == 51
    assert_nothing_is_held(db)


async def test_each_transaction_has_the_settings_that_a_connection_cannot_keep(
    make_db: MakeDb, behind_url: str
):
    db = make_db(behind_url, pgbouncer=True, lock_timeout=3)

    async def shown(name: str) -> str:
        return str((await db.fetch(Statement(f"SHOW {name}", label="show")))[0][0])

    async with db.unit_of_work():
        assert await shown("statement_timeout") == "30s"
        assert await shown("lock_timeout") == "3s"
        assert await shown("idle_in_transaction_session_timeout") == "1min"
    async with db.unit_of_work(statement_timeout=1), db.unit_of_work():
        assert await shown("statement_timeout") == "1s"
    assert await shown("lock_timeout") == "0", "nothing stays on the server's connection"


async def test_a_statement_alone_has_its_timeout_too(
    make_db: MakeDb, behind_url: str, observer: Observer
):
    db = make_db(behind_url, pgbouncer=True, statement_timeout=0.3)
    with pytest.raises(QueryTimeoutError):
        await db.fetch(SLEEP, (30.0,))
    slow = Statement(
        "INSERT INTO entry (id, note) SELECT $1, pg_sleep(30)::text RETURNING id", label="slow"
    )
    with pytest.raises(QueryTimeoutError) as caught:
        await db.write(slow, (uuid4(),))
    assert outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)


async def test_cancels_hit_nobody_else(make_db: MakeDb, transactions_url: str, observer: Observer):
    db = make_db(transactions_url, pgbouncer=True, pool_size=8, max_overflow=0, pool_timeout=30)

    async def victim(number: int) -> int:
        try:
            async with deadline(0.02 + number % 5 * 0.02):
                async with db.unit_of_work():
                    await insert(db, "victim")
                    await db.fetch(SLEEP, (0.1,))
        except QueryTimeoutError:
            return 1
        return 0

    async def bystander() -> int:
        async with db.unit_of_work():
            await insert(db, "bystander")
            await db.fetch(SLEEP, (0.02,))
        return 0

    cancels = sum(await asyncio.gather(*(victim(n) if n % 2 else bystander() for n in range(160))))
    assert cancels > 20
    assert (await observer.notes()).count("bystander") == 80


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_a_connection_cut_at_many_bytes_of_run_doubles_and_loses_nothing(
    make_db: MakeDb, transactions_url: str, observer: Observer, direction: Direction
):
    counts: Counter[str] = Counter()
    async with Proxy(transactions_url) as proxy:
        db = make_db(proxy.url, pgbouncer=True)
        for cut in range(0, 500, 7):
            await db.ping()
            note = f"{direction} {cut}"

            async def body(_: UnitOfWork, note: str = note) -> None:
                await insert(db, note)
                await insert(db, note)

            proxy.cut_after(cut, direction)
            try:
                await db.run(body)
            except CommitOutcomeUnknownError:
                counts["unknown"] += 1
            else:
                counts["done"] += 1
                there = await observer.value("SELECT count(*) FROM entry WHERE note = $1", note)
                assert there == 2, note
            proxy.heal()
    assert counts["unknown"] == 0, counts


async def test_a_lone_write_lost_on_the_way_is_found_or_unknown_and_never_repeated_blindly(
    make_db: MakeDb, transactions_url: str, observer: Observer
):
    async with Proxy(transactions_url) as proxy:
        db = make_db(proxy.url, pgbouncer=True)
        for direction in ("to_server", "to_client"):
            for cut in range(0, 200, 9):
                await db.ping()
                key = uuid4()
                proxy.cut_after(cut, direction)  # type: ignore[arg-type]
                try:
                    await insert(db, "x", key)
                except CommitOutcomeUnknownError:
                    pass
                else:
                    assert key in await observer.keys()
                proxy.heal()


async def test_nothing_can_be_listened_to_unless_there_is_a_way_past_it(
    make_db: MakeDb, behind_url: str, ledger_url: str
):
    db = make_db(behind_url, pgbouncer=True)
    with pytest.raises(ConfigurationError, match="listen_url"):
        db.listener.watch("news", "key")
    db = make_db(behind_url, pgbouncer=True, listen_url=ledger_url)
    watch = db.listener.watch("news", "key")
    await settled(db, watch)
    await db.fetch(NOTIFY, ("news", "key"))
    await hear(watch)
    watch.close()


async def test_whoever_did_not_say_so_is_told_what_to_set(make_db: MakeDb, behind_url: str):
    with pytest.raises(ConfigurationError, match="pgbouncer=True"):
        await make_db(behind_url).ping()


async def test_a_pooler_that_lets_the_settings_pass_is_found_all_the_same(
    make_db: MakeDb, ledger_url: str, caplog: pytest.LogCaptureFixture
):
    ignored = "ignore_startup_parameters = statement_timeout, idle_in_transaction_session_timeout"
    async with pgbouncer(ledger_url, "transaction", size=3, options=ignored) as url:
        db = make_db(url)
        with caplog.at_level(logging.WARNING, "timber.database"):
            advice = await pooler_advice(db)
        assert advice is not None
        assert "pgbouncer=True" in advice
        assert "pgbouncer=True" in caplog.text
        errors: list[Any] = await asyncio.gather(
            *(db.write(INSERT, (uuid4(), "x")) for _ in range(40)), return_exceptions=True
        )
        wrong = [error for error in errors if isinstance(error, ServiceError)]
        assert all(
            isinstance(error, DatabaseError) and "pgbouncer" in str(error) for error in wrong
        )
        allowed = make_db(url, pgbouncer=True)
        advice = await pooler_advice(allowed)
        assert advice is not None
        assert "listen_url" in advice
        assert await pooler_advice(make_db(url, pgbouncer=True, listen_url=ledger_url)) is None


async def test_whoever_said_so_without_one_is_told(make_db: MakeDb):
    advice = await pooler_advice(make_db(pgbouncer=True))
    assert advice is not None
    assert "Take it out" in advice
    assert await pooler_advice(make_db()) is None


IGNORING = (
    "ignore_startup_parameters = statement_timeout,idle_in_transaction_session_timeout,options"
)


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("options", ["", IGNORING], ids=["strict", "lenient"])
async def test_the_doctor_finds_it_and_is_content_once_it_is_allowed_for(
    ledger_url: str, mode: PoolMode, options: str
) -> None:
    async with pgbouncer(ledger_url, mode, options=options) as url:
        wrong = [f for f in await examine(TimberSettings(database_url=url)) if f.level != "ok"]
        assert any("TIMBER_PGBOUNCER=true" in f.found + f.advice for f in wrong)
        allowing = TimberSettings(database_url=url, pgbouncer=True, listen_url=ledger_url)
        [pooler] = [f for f in await examine(allowing) if f.about == "Pooler"]
        assert pooler.level == "ok"
