"""No parameter, row value or password in a message, argument, cause, traceback or log line."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    INSERT,
    INSERT_CODE,
    Counted,
    Entry,
    Observer,
    insert,
)
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ServiceError

CANARY = "canary-7f3a91"
NUMBER = 987654321987654321

Failing = Callable[[AsyncDatabaseManager], Awaitable[object]]


def everything_it_shows(error: BaseException) -> str:
    """What a log, an error tracker or a curious person would see of an exception."""
    parts = ["".join(traceback.format_exception(error))]
    seen: set[int] = set()
    pending: list[Any] = [error]
    while pending:
        current = pending.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        parts += [str(current), repr(current), repr(current.args), repr(vars(current))]
        parts += ["".join(traceback.format_exception(current)), *getattr(current, "__notes__", [])]
        parts += [
            str(getattr(current, name, ""))
            for name in ("detail", "params", "statement", "hint", "query")
        ]
        pending += [current.__cause__, current.__context__, *vars(current).values()]
    return "\n".join(parts)


async def _unique(db: AsyncDatabaseManager) -> None:
    await db.write(INSERT_CODE, (uuid4(), CANARY))
    await db.write(INSERT_CODE, (uuid4(), CANARY))


async def _unencodable(db: AsyncDatabaseManager) -> None:
    await db.write(INSERT, (CANARY, CANARY))


async def _wrong_count(db: AsyncDatabaseManager) -> None:
    await db.write(INSERT, (CANARY, CANARY, CANARY))


async def _bad_cast(db: AsyncDatabaseManager) -> None:
    await db.fetch(Statement("SELECT $1::text::int", label="cast"), (CANARY,))


async def _too_large(db: AsyncDatabaseManager) -> None:
    await db.fetch(Statement("SELECT $1::int8::int4", label="cast"), (NUMBER,))


async def _raised(db: AsyncDatabaseManager) -> None:
    sql = "SELECT format('%s', $1::text)::xml"
    await db.fetch(Statement(sql, label="xml"), (f"<{CANARY}",))


async def _check_on_rows(db: AsyncDatabaseManager) -> None:
    key = await insert(db, CANARY)
    await db.execute(
        Statement(f"UPDATE entry SET amount = NULL WHERE id = '{key}'", label="update")
    )


async def _copy(db: AsyncDatabaseManager) -> None:
    await db.copy("entry", ["id", "code"], [(uuid4(), CANARY), (uuid4(), CANARY)])


async def _copy_unencodable(db: AsyncDatabaseManager) -> None:
    await db.copy("entry", ["id", "note"], [(CANARY, CANARY)])


async def _cursor(db: AsyncDatabaseManager) -> None:
    async with db.cursor(Statement("SELECT $1::text::int", label="x"), (CANARY,)) as batches:
        async for _ in batches:
            pass


async def _unit(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work():
        await _unique(db)


async def _run(db: AsyncDatabaseManager) -> None:
    await db.run(lambda _: _unique(db))


async def _orm_flush(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        session.add_all([Entry(code=CANARY), Entry(code=CANARY)])
        await session.flush()


async def _orm_at_commit(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        session.add_all([Entry(code=CANARY), Entry(code=CANARY)])


async def _orm_unfit(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        session.add(Entry(amount=CANARY))


async def _orm_unencodable(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        session.add(Entry(data={"key": {CANARY}}))


async def _orm_stale(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        counted = Counted(note=CANARY)
        session.add(counted)
        await session.flush()
        await session.execute(text("UPDATE counted SET version = version + 1"))
        counted.note = CANARY * 2


async def _orm_text(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work() as uow:
        statement = text("SELECT cast(:value AS integer)").bindparams(bindparam("value", CANARY))
        await uow.session.execute(statement)


async def _orm_connection(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        connection = await session.connection()
        await connection.execute(text("SELECT cast(cast(:v AS text) AS int)"), {"v": CANARY})


async def _orm_run_sync(db: AsyncDatabaseManager) -> None:
    def work(session: Session) -> None:
        session.bulk_insert_mappings(Entry, [{"code": CANARY}, {"code": CANARY}])  # type: ignore[arg-type]

    async with db.unit_of_work() as uow:
        await uow.session.run_sync(work)


async def _own_session(db: AsyncDatabaseManager) -> None:
    async with db.get_session() as session:
        session.add_all([Entry(code=CANARY), Entry(code=CANARY)])
        await session.commit()


async def _own_session_unfit(db: AsyncDatabaseManager) -> None:
    async with db.get_session() as session:
        session.add(Entry(amount=CANARY))
        await session.commit()


async def _own_session_unencodable(db: AsyncDatabaseManager) -> None:
    async with db.get_session() as session:
        session.add(Entry(data={"key": {CANARY}}))
        await session.commit()


async def _own_session_text(db: AsyncDatabaseManager) -> None:
    async with db.get_session() as session:
        await session.execute(text("SELECT cast(cast(:v AS text) AS int)"), {"v": CANARY})


async def _explain(db: AsyncDatabaseManager) -> None:
    statement = text("SELECT cast(cast(:v AS text) AS int)").bindparams(v=CANARY)
    await db.explain(statement, analyze=True)


FAILING: list[Failing] = [
    _unique, _unencodable, _wrong_count, _bad_cast, _too_large, _raised, _check_on_rows, _copy,
    _copy_unencodable, _cursor, _unit, _run, _orm_flush, _orm_at_commit, _orm_unfit,
    _orm_unencodable, _orm_stale, _orm_text, _orm_connection, _orm_run_sync, _own_session,
    _own_session_unfit, _own_session_unencodable, _own_session_text, _explain,
]  # fmt: skip


def test_the_detector_sees_what_is_hidden_in_causes_and_attributes():
    error = ServiceError("x")
    error.__cause__ = ValueError()
    error.__cause__.__context__ = KeyError(CANARY)
    assert CANARY in everything_it_shows(error)
    other = ServiceError("x")
    other.__cause__ = ValueError()
    other.__cause__.params = {"a": CANARY}  # type: ignore[attr-defined]
    assert CANARY in everything_it_shows(other)


@pytest.mark.parametrize("failing", FAILING, ids=lambda f: f.__name__)
async def test_no_value_is_shown(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError) as caught:
        await failing(db)
    shown = everything_it_shows(caught.value)
    for secret in (CANARY, str(NUMBER)):
        assert secret not in _without_source_lines(shown)
    logged = [r.getMessage() for r in caplog.records if r.name.startswith(("timber", "sqlalchemy"))]
    assert CANARY not in "\n".join(logged)


def _without_source_lines(shown: str) -> str:
    """This file's own lines, which name the canary, may stand in a traceback."""
    return "\n".join(
        line for line in shown.splitlines() if "CANARY" not in line and "NUMBER" not in line
    )


@pytest.mark.parametrize(
    "failing", [_unique, _orm_flush, _orm_unfit, _own_session], ids=lambda f: f.__name__
)
async def test_an_error_raised_while_handling_it_shows_nothing_either(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing
):
    with pytest.raises(LookupError) as caught:
        try:
            await failing(db)
        except ServiceError:
            raise LookupError("of the caller")  # noqa: B904  # with the other as its context
    assert CANARY not in _without_source_lines(everything_it_shows(caught.value))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    with caplog.at_level(logging.DEBUG):
        yield lambda: "\n".join(
            logging.Formatter().format(record)
            for record in caplog.records
            if not record.name.startswith("asyncio")
        )


async def test_slow_queries_echo_and_pool_logs_show_no_value(
    make_db: MakeDb, observer: Observer, logged: Callable[[], str]
):
    db = make_db(echo=True, echo_pool=True, slow_query_seconds=0.001)
    await insert(db, CANARY)
    await db.fetch(Statement("SELECT pg_sleep(0.01), $1::text", label="slow"), (CANARY,))
    async with db.session_scope() as session:
        session.add(Entry(note=CANARY))
        await session.flush()
        await session.execute(text("SELECT cast(:v AS text), pg_sleep(0.01)"), {"v": CANARY})
    text_ = logged()
    assert "INSERT INTO entry" in text_
    assert CANARY not in text_


async def test_an_error_in_a_callback_is_logged_without_values(
    db: AsyncDatabaseManager, observer: Observer, logged: Callable[[], str]
):
    async with db.unit_of_work() as uow:
        await insert(db)
        uow.on_commit(lambda: _unique(db))
    assert "ConflictError" in logged()
    assert CANARY not in _without_source_lines(logged())


async def test_a_lost_connection_shows_no_value(make_db: MakeDb, proxy: Proxy, observer: Observer):
    db = make_db(proxy.url, outage_attempts=1)
    for use in (
        lambda: db.execute(
            Statement("INSERT INTO entry (id, note) VALUES ($1, $2)", label="x"), (uuid4(), CANARY)
        ),
        lambda: db.fetch(Statement("SELECT $1::text, pg_sleep(0.2)", label="x"), (CANARY,)),
        lambda: _orm_text(db),
    ):
        await db.ping()
        asyncio.get_running_loop().call_later(0.002, proxy.cut_all)
        proxy.cut_after(40, "to_server", each_connection=True)
        with pytest.raises(ServiceError) as caught:
            await use()
        assert CANARY not in _without_source_lines(everything_it_shows(caught.value))
        proxy.heal()
        await asyncio.sleep(0.01)
