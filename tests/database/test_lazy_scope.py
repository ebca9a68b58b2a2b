"""What is sent to the server, and when: nothing without need."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DELETE,
    FIND,
    IN_TRANSACTION,
    INSERT,
    INSERT_SILENTLY,
    KEYS,
    UPDATE,
    CallerError,
    Entry,
    Observer,
    assert_nothing_is_held,
    insert,
    messages,
)
from timber.database.driver import Driver
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ServiceError

INSERT_WITH_XID = INSERT.sql + ", pg_current_xact_id() AS _xid"
ASK_XID = "select pg_current_xact_id_if_assigned()"


async def test_an_empty_unit_of_work_takes_no_connection(db: AsyncDatabaseManager):
    async with db.unit_of_work() as uow:
        async with uow.savepoint(), db.unit_of_work():
            pass
        assert db.get_pool_status()["checked_out"] == 0
    assert uow.outcome == "committed"
    with pytest.raises(CallerError):
        async with db.unit_of_work() as uow:
            raise CallerError
    assert uow.outcome == "rolled_back"
    assert db.get_pool_status()["checked_in"] == 0, "not even a connection was made"


async def test_the_connection_is_taken_with_the_first_statement(db: AsyncDatabaseManager):
    async with db.unit_of_work():
        assert db.get_pool_status()["checked_out"] == 0
        await db.fetch(KEYS)
        assert db.get_pool_status()["checked_out"] == 1
    assert_nothing_is_held(db)


async def test_a_lone_read_sends_one_message(db: AsyncDatabaseManager):
    sent = await messages(db)
    await db.fetch(FIND, (uuid4(),))
    before = sent.packets
    await db.fetch(FIND, (uuid4(),))
    assert sent.packets - before == 1
    assert await sent.texts() == [FIND.sql, FIND.sql]


async def test_a_lone_write_sends_one_message(db: AsyncDatabaseManager):
    sent = await messages(db)
    await insert(db)
    before = sent.packets
    key = await insert(db)
    assert sent.packets - before == 1
    await db.write(UPDATE, (key, 1))
    await db.execute(INSERT_SILENTLY, (uuid4(), "x"))
    assert await db.write(DELETE, (key,))
    assert await sent.texts() == [
        INSERT.sql,
        INSERT.sql,
        UPDATE.sql,
        INSERT_SILENTLY.sql,
        DELETE.sql,
    ]


async def test_the_transaction_id_comes_with_the_first_write_and_once(db: AsyncDatabaseManager):
    sent = await messages(db)
    async with db.unit_of_work():
        await db.fetch(KEYS)
        await insert(db)
        await insert(db)
    assert await sent.texts() == ["BEGIN", KEYS.sql, INSERT_WITH_XID, INSERT.sql, "COMMIT"]


@pytest.mark.parametrize("way", ["execute", "copy", "session", "no row returned"])
async def test_the_transaction_id_is_asked_once_before_commit_where_no_write_brought_it(
    db: AsyncDatabaseManager, way: str
):
    sent = await messages(db)
    async with db.unit_of_work() as uow:
        if way == "execute":
            await db.execute(INSERT_SILENTLY, (uuid4(), "x"))
        elif way == "copy":
            await db.copy("entry", ["id"], [(uuid4(),)])
        elif way == "session":
            await uow.session.execute(text("INSERT INTO entry (id) VALUES (gen_random_uuid())"))
        else:
            assert not await db.write(UPDATE, (uuid4(), 1))
    texts = await sent.texts()
    assert texts[0] == "BEGIN"
    assert texts.count(ASK_XID) == 1
    assert texts[-2:] == [ASK_XID, "COMMIT"]


async def test_a_transaction_that_only_reads_asks_for_no_id(db: AsyncDatabaseManager):
    sent = await messages(db)
    async with db.unit_of_work():
        await db.fetch(KEYS)
    assert await sent.texts() == ["BEGIN", KEYS.sql, "COMMIT"]


async def test_a_savepoint_is_sent_with_its_first_statement(db: AsyncDatabaseManager):
    sent = await messages(db)
    async with db.unit_of_work() as uow:
        async with uow.savepoint():
            pass
        async with uow.savepoint(), uow.savepoint():
            await db.fetch(KEYS)
        with pytest.raises(CallerError):
            async with uow.savepoint():
                raise CallerError
    assert await sent.texts() == [
        "BEGIN",
        "SAVEPOINT timber_1",
        "SAVEPOINT timber_2",
        KEYS.sql,
        "RELEASE SAVEPOINT timber_2",
        "RELEASE SAVEPOINT timber_1",
        "COMMIT",
    ]


async def test_what_begins_is_answered_with_the_first_statement_once_that_is_prepared(
    db: AsyncDatabaseManager, observer: Observer
):
    sent = await messages(db)
    await db.fetch(IN_TRANSACTION)
    await insert(db, "lone")
    before = sent.questions
    async with db.unit_of_work(isolation="serializable", statement_timeout=5, lock_timeout=2):
        assert (await db.fetch(IN_TRANSACTION))[0][0] is None
        key = await insert(db, "prepared as a lone statement, without the transaction's id")
        assert key not in await observer.keys()
    assert sent.questions - before == 4, "a read, the write's text with the id, the write, COMMIT"
    before = sent.questions
    async with db.unit_of_work() as uow, uow.savepoint(), uow.savepoint():
        await insert(db, "in both")
    assert sent.questions - before == 4, "a write, RELEASE twice, COMMIT"
    assert (await observer.notes()).count("in both") == 1


async def test_with_a_driver_that_is_made_otherwise_what_begins_is_a_round_trip(
    db: AsyncDatabaseManager, monkeypatch: pytest.MonkeyPatch
):
    sent = await messages(db)
    await db.fetch(KEYS)

    def missing(_: object) -> None:
        raise AttributeError

    monkeypatch.setattr(Driver, "_transport", property(missing), raising=False)
    before = sent.questions
    async with db.unit_of_work() as uow, uow.savepoint():
        await db.fetch(KEYS)
    assert sent.questions - before == 5, "BEGIN, SAVEPOINT, a read, RELEASE, COMMIT"


async def test_begin_and_its_settings_are_one_message(db: AsyncDatabaseManager):
    sent = await messages(db)
    async with db.unit_of_work(
        isolation="serializable",
        read_only=True,
        deferrable=True,
        statement_timeout=1.5,
        lock_timeout=0.25,
    ):
        await db.fetch(KEYS)
    texts = await sent.texts()
    assert texts[0] == (
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;"
        " SET LOCAL statement_timeout = 1500; SET LOCAL lock_timeout = 250"
    )
    assert len(texts) == 3


@pytest.mark.parametrize(
    ("options", "setting", "value"),
    [
        ({"isolation": "read committed"}, "transaction_isolation", "read committed"),
        ({"isolation": "repeatable read"}, "transaction_isolation", "repeatable read"),
        ({"isolation": "serializable"}, "transaction_isolation", "serializable"),
        ({"read_only": True}, "transaction_read_only", "on"),
        ({"deferrable": True}, "transaction_deferrable", "on"),
        ({"statement_timeout": 0.5}, "statement_timeout", "500ms"),
        ({"lock_timeout": 2}, "lock_timeout", "2s"),
    ],
)
async def test_options_hold_inside_and_no_longer(
    db: AsyncDatabaseManager, options: dict[str, Any], setting: str, value: str
):
    show = Statement(f"SHOW {setting}", label="show")
    before = (await db.fetch(show))[0][0]
    async with db.unit_of_work(**options) as uow:
        assert (await db.fetch(show))[0][0] == value
        assert (await uow.session.execute(text(show.sql))).scalar() == value
    assert (await db.fetch(show))[0][0] == before


async def test_a_write_in_a_read_only_one_fails(db: AsyncDatabaseManager, observer: Observer):
    with pytest.raises(ServiceError, match="writes"):
        async with db.unit_of_work(read_only=True):
            await insert(db)
    assert await observer.count() == 0


async def test_a_session_that_is_only_looked_at_sends_nothing(db: AsyncDatabaseManager):
    async with db.unit_of_work() as uow:
        assert uow.session is uow.session
        assert not uow.session.new
    assert uow.outcome == "committed"
    assert db.get_pool_status()["checked_in"] == 0


async def test_what_was_added_to_a_session_and_never_flushed_is_committed(
    db: AsyncDatabaseManager, observer: Observer
):
    sent = await messages(db)
    async with db.unit_of_work() as uow:
        uow.session.add(Entry(note="added"))
        assert not await sent.texts()
    assert uow.outcome == "committed"
    assert await observer.notes() == ["added"]


async def test_a_manager_connects_when_it_is_first_needed(make_db: MakeDb, observer: Observer):
    db = make_db()
    assert await observer.states(db.settings.application_name) == []
    await db.ping()
    assert await observer.states(db.settings.application_name) == ["idle"]
