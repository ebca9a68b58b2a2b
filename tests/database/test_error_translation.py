"""Errors of PostgreSQL, its driver and SQLAlchemy become Timber's in one place, by SQLSTATE."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    INSERT,
    INSERT_CODE,
    KEYS,
    SLEEP,
    CallerError,
    Entry,
    Observer,
    insert,
)
from tests.database.test_retry import raising
from timber.database.errors import came_from_server, is_lost, translate
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import (
    CommitOutcomeUnknownError,
    ConfigurationError,
    ConflictError,
    DatabaseError,
    PoolTimeoutError,
    QueryTimeoutError,
    SerializationError,
    ServiceError,
    StaleDataError,
    UnavailableError,
    UnitOfWorkDoomedError,
    UsageError,
    ValidationError,
)

STATES: dict[str, tuple[type[ServiceError], int]] = {
    "08006": (UnavailableError, 503),
    "22001": (ValidationError, 422),
    "22003": (ValidationError, 422),
    "22P02": (ValidationError, 422),
    "23502": (ConflictError, 409),
    "23503": (ConflictError, 409),
    "23505": (ConflictError, 409),
    "23514": (ConflictError, 409),
    "23P01": (ConflictError, 409),
    "25006": (UnavailableError, 503),
    "25P02": (UnitOfWorkDoomedError, 500),
    "25P03": (UnavailableError, 503),
    "28P01": (ConfigurationError, 500),
    "3D000": (ConfigurationError, 500),
    "40001": (SerializationError, 503),
    "40P01": (SerializationError, 503),
    "42501": (DatabaseError, 500),
    "42601": (DatabaseError, 500),
    "42703": (DatabaseError, 500),
    "42P01": (DatabaseError, 500),
    "53300": (UnavailableError, 503),
    "53100": (DatabaseError, 500),
    "55P03": (QueryTimeoutError, 504),
    "57014": (QueryTimeoutError, 504),
    "57P01": (UnavailableError, 503),
    "57P03": (UnavailableError, 503),
    "58030": (DatabaseError, 500),
    "XX000": (DatabaseError, 500),
    "P0001": (DatabaseError, 500),
}

Way = Callable[[AsyncDatabaseManager, Statement], Awaitable[object]]


async def _read(db: AsyncDatabaseManager, statement: Statement) -> None:
    await db.fetch(statement)


async def _lone(db: AsyncDatabaseManager, statement: Statement) -> None:
    await db.execute(statement)


async def _unit(db: AsyncDatabaseManager, statement: Statement) -> None:
    async with db.unit_of_work():
        await db.execute(statement)


async def _orm(db: AsyncDatabaseManager, statement: Statement) -> None:
    async with db.unit_of_work() as uow:
        await uow.session.execute(text(statement.sql))


async def _scope(db: AsyncDatabaseManager, statement: Statement) -> None:
    async with db.session_scope() as session:
        await session.execute(text(statement.sql))


async def _connection(db: AsyncDatabaseManager, statement: Statement) -> None:
    async with db.session_scope() as session:
        await (await session.connection()).execute(text(statement.sql))


async def _own_session(db: AsyncDatabaseManager, statement: Statement) -> None:
    async with db.get_session() as session:
        await session.execute(text(statement.sql))


WAYS: list[Way] = [_read, _lone, _unit, _orm, _scope, _connection, _own_session]


@pytest.mark.parametrize("state", STATES)
async def test_every_way_gives_the_same_error_for_an_sqlstate(
    db: AsyncDatabaseManager, state: str, monkeypatch: pytest.MonkeyPatch
):
    kind, status = STATES[state]
    for way in WAYS:
        with pytest.raises(ServiceError) as caught:
            await way(db, raising(state))
        error = caught.value
        if way is _lone and is_lost(error.__cause__ or error):
            # The server says that it goes away: whether it did the work first it does not say.
            assert type(error) is CommitOutcomeUnknownError
            continue
        assert type(error) is kind, way
        assert error.status == status
        if isinstance(error, DatabaseError | ConflictError):
            assert error.sqlstate == state, way
        assert error.message
        assert "\n" not in error.message or kind is UnitOfWorkDoomedError
        assert error.__cause__ is not None


async def test_real_violations_name_the_constraint_and_no_value(
    db: AsyncDatabaseManager, observer: Observer
):
    key = await insert(db)
    await db.write(INSERT_CODE, (uuid4(), "secret"))
    cases: list[tuple[Statement, tuple[Any, ...], str | None, str]] = [
        (INSERT, (key, ""), "entry_pkey", "exists already"),
        (INSERT_CODE, (uuid4(), "secret"), "entry_code_key", "exists already"),
        (
            Statement("UPDATE entry SET amount = NULL WHERE id = $1", label="x"),
            (key,),
            None,
            "'amount' must not be empty",
        ),
        (
            Statement(
                "WITH now AS (SELECT set_config('x.y', '1', true)) INSERT INTO part (id, entry_id)"
                " SELECT gen_random_uuid(), $1 FROM now",
                label="x",
            ),
            (uuid4(),),
            "part_entry_id_fkey",
            "reference",
        ),
    ]
    for statement, args, constraint, words in cases:
        with pytest.raises(ConflictError, match=words) as caught:
            await db.write(statement, args)
        assert caught.value.constraint == constraint
        assert caught.value.table in {"entry", "part"}
        assert "secret" not in str(caught.value)


async def test_missing_tables_and_columns_say_what_to_do(db: AsyncDatabaseManager):
    with pytest.raises(DatabaseError, match=r"table is missing in database .*create_all_tables"):
        await db.fetch(Statement("SELECT * FROM nowhere", label="x"))
    with pytest.raises(DatabaseError, match=r"column .* `timber migrate up`"):
        await db.fetch(Statement("SELECT nothing FROM entry", label="x"))


async def test_what_the_driver_refuses_before_sending(db: AsyncDatabaseManager):
    with pytest.raises(ValidationError):
        await db.write(INSERT, ("no uuid", "x"))
    with pytest.raises(DatabaseError) as caught:
        await db.write(INSERT, (uuid4(),))
    assert not isinstance(caught.value, UnavailableError | CommitOutcomeUnknownError)
    assert str(caught.value.__cause__)
    assert await db.fetch(KEYS) == []


async def test_a_statement_timeout(db: AsyncDatabaseManager):
    with pytest.raises(QueryTimeoutError, match="statement_timeout") as caught:
        async with db.unit_of_work(statement_timeout=0.02):
            await db.fetch(SLEEP, (10.0,))
    assert caught.value.sqlstate == "57014"


async def test_what_sqlalchemy_refuses_is_a_usage_error(db: AsyncDatabaseManager):
    async with db.unit_of_work() as uow:
        with pytest.raises(UsageError, match="exactly one row"):
            await uow.session.get_one(Entry, uuid4())
        with pytest.raises(UsageError):
            await uow.session.refresh(Entry())


async def test_what_a_callers_own_code_raises_passes_unchanged(db: AsyncDatabaseManager):
    for error in (CallerError(), ValueError("x"), OSError(5, "disk"), TimeoutError(), EOFError()):
        for scope in (db.unit_of_work, db.session_scope):
            with pytest.raises(type(error)) as caught:
                async with scope():
                    await insert(db)
                    raise error
            assert caught.value is error


async def test_what_a_caller_runs_in_the_session_passes_unchanged_too(
    db: AsyncDatabaseManager, observer: Observer
):
    def fail(_: object) -> None:
        raise error

    for error in (CallerError(), OSError(5, "disk"), TimeoutError(), EOFError()):
        async with db.unit_of_work() as uow:
            await insert(db, type(error).__name__)
            with pytest.raises(type(error)) as caught:
                await uow.session.run_sync(fail)
            assert caught.value is error
        assert uow.outcome == "committed"
        async with db.get_session() as session:
            with pytest.raises(type(error)) as caught:
                await session.run_sync(fail)
            assert caught.value is error
    assert await observer.count() == 4


def test_translating_twice_changes_nothing():
    error = translate(asyncpg.UniqueViolationError("x"), "here")
    assert translate(error, "here") is error


def test_what_counts_as_a_lost_connection():
    lost: list[BaseException] = [
        OSError(),
        ConnectionResetError(),
        EOFError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"),
        asyncpg.AdminShutdownError("x"),
    ]
    kept: list[BaseException] = [
        asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
        asyncpg.UniqueViolationError("x"),
        asyncpg.QueryCanceledError("x"),
        ValueError(),
    ]
    for error in lost:
        assert is_lost(error), error
        # Scrubbed of its words it is still what it was.
        if not isinstance(error, OSError | EOFError):
            assert is_lost(translate(error, "here")), error
    for error in kept:
        assert not is_lost(error), error
    assert not came_from_server(kept[0])


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("x", constraint="c", table="t", sqlstate="23505"),
        StaleDataError(model="Entry", expected=1, actual=2),
        UnavailableError("x", sqlstate="08006"),
        PoolTimeoutError(),
        ConfigurationError("x", file="f", line=3),
    ],
)
def test_errors_survive_pickling_with_what_they_know(error: ServiceError):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


SAID: list[tuple[str, str]] = [
    ("SELECT nope FROM entry", "names a column that is not there"),
    ("SELECT * FROM nope", "look at the table's name"),
    ("SELECT note = 5 FROM entry", "types in a statement do not go together"),
    ("SELECT nope(5)", "the names of functions"),
    ("SELEC 5", "an error in its syntax"),
    ("SELECT note FROM entry a, entry b", "several of its tables have"),
]


@pytest.mark.parametrize(("sql", "said"), SAID)
async def test_a_mistake_in_ones_own_sql_is_not_taken_for_an_old_database_alone(
    db: AsyncDatabaseManager, sql: str, said: str
):
    with pytest.raises(DatabaseError, match=said):
        async with db.unit_of_work() as uow:
            await uow.session.execute(text(sql))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("SELECT 1", r"wrapped in sqlalchemy\.text\(\)"),
        (text("SELECT :missing"), r"https://sqlalche\.me/e/21/cd3x"),
    ],
)
async def test_what_sqlalchemy_refuses_comes_with_a_way_on(
    db: AsyncDatabaseManager, call: Any, said: str
):
    with pytest.raises(UsageError, match=said):
        async with db.unit_of_work() as uow:
            await uow.session.execute(call)


def test_a_host_that_no_way_leads_to_was_never_connected():
    error = translate(OSError(errno.EHOSTUNREACH, "no route to host"), "'shop' on far:5432")
    assert type(error) is UnavailableError
    assert str(error) == "Cannot reach 'shop' on far:5432: there is no way to that host."


async def test_a_certificate_that_is_not_there_is_a_matter_of_the_settings(
    make_db: MakeDb, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    monkeypatch.setenv("HOME", "/nowhere")
    db = make_db("postgresql://u@127.0.0.1:9/d?sslmode=verify-full")
    with pytest.raises(ConfigurationError, match="does not find a file"):
        await db.ping()
    monkeypatch.setenv("PGSSLROOTCERT", "/nowhere/root.crt")
    with pytest.raises(UnavailableError, match="no such socket or certificate"):
        await db.ping()
