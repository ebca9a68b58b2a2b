"""A primary that is one no longer, several servers behind one URL, and tables that change under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import make_url, text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    SLEEP,
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from tests.harness.proxy import Proxy
from timber.database.hosts import hosts_of, spread_hosts
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.database.urls import name_of, parse_url
from timber.errors import ConfigurationError, SerializationError, UnavailableError, UsageError

# ------------------------------------------------------------------------------------------------------- several hosts


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ("postgresql://u:p%2C@a:1,b:2/d", ["a:1", "b:2"]),
        ("postgresql://a,b/d?sslmode=require", ["a:5432", "b:5432"]),
        ("postgresql://u@[::1]:1,[::2]:2/d", ["::1:1", "::2:2"]),
        ("postgresql://u@/d?host=a:1&host=b:2", ["a:1", "b:2"]),
        ("postgresql://u@/d?host=a,b&port=1,2", ["a:1", "b:2"]),
        ("postgresql://u@/d?host=/run/a&host=/run/b&port=1", ["/run/a:1", "/run/b:1"]),
        ("postgresql://a:1,b:2", ["a:1", "b:2"]),
        ("postgresql://u@a:1/d", []),
    ],
)
def test_the_hosts_of_a_url(given: str, hosts: list[str]):
    assert [str(host) for host in hosts_of(parse_url(given))] == hosts


def test_what_else_a_url_says_is_kept():
    url = parse_url("postgresql://user:pass%40word@a:1,b:2/shop?target_session_attrs=any")
    assert (url.username, url.password, url.database) == ("user", "pass@word", "shop")
    assert url.query["target_session_attrs"] == "any"
    assert name_of(url) == "database 'shop' on a:1,b:2"
    assert spread_hosts("postgresql://u@h/d?x=a,b") == "postgresql://u@h/d?x=a,b"


@pytest.mark.parametrize(
    "given", ["postgresql://a:x,b:2/d", "postgresql://u@/d?host=a,b&port=1,2,3"]
)
def test_ports_that_are_none(make_db: MakeDb, given: str):
    with pytest.raises(ConfigurationError, match="port"):
        make_db(given)


@pytest.fixture
async def second(ledger_url: str) -> AsyncGenerator[Proxy]:
    async with Proxy(ledger_url) as proxy:
        yield proxy


def both(proxy: Proxy, second: Proxy, **query: str) -> str:
    first, other = make_url(proxy.url), make_url(second.url)
    url = first.set(host=None, port=None).update_query_dict(query)
    hosts = [f"127.0.0.1:{one.port}" for one in (first, other)]
    return url.update_query_pairs([("host", host) for host in hosts]).render_as_string(
        hide_password=False
    )


async def test_the_next_host_is_taken_when_the_first_is_gone(
    make_db: MakeDb, proxy: Proxy, second: Proxy, observer: Observer
):
    db = make_db(both(proxy, second))
    await insert(db, "first")
    assert (proxy.accepted, second.accepted) == (1, 0)
    await proxy.refuse()
    proxy.cut_all()
    await db.run(lambda _: insert(db, "second"))
    assert second.accepted == 1
    await proxy.accept()
    await db.dispose()
    await insert(db, "third")
    assert second.accepted == 2, "the one that was right the last time is asked first"
    assert await observer.notes() == ["first", "second", "third"]


async def test_a_host_that_does_not_answer_leaves_time_for_the_next(
    make_db: MakeDb, proxy: Proxy, second: Proxy
):
    db = make_db(both(proxy, second), connect_timeout=1)
    proxy.freeze()
    started = time.monotonic()
    await db.ping()
    assert time.monotonic() - started < 1
    await db.dispose()
    started = time.monotonic()
    await db.ping()
    assert time.monotonic() - started < 0.4, "and is not asked first again"
    proxy.heal()


async def test_no_host_at_all(make_db: MakeDb, proxy: Proxy, second: Proxy):
    db = make_db(both(proxy, second))
    for one in (proxy, second):
        await one.refuse()
    with pytest.raises(UnavailableError, match="nothing listens"):
        await db.ping()


async def test_no_host_of_the_wanted_kind(make_db: MakeDb, proxy: Proxy, second: Proxy):
    db = make_db(both(proxy, second, target_session_attrs="standby"))
    with pytest.raises(UnavailableError, match="wanted kind"):
        await db.ping()
    db = make_db(both(proxy, second, target_session_attrs="prefer-standby"))
    await db.ping()


# --------------------------------------------------------------------------------------------------- a demoted primary


@pytest.fixture
async def demoted(observer: Observer) -> AsyncGenerator[Any]:
    """Makes the database one that accepts no writes, for connections made from now on, as a replica would be."""
    name = await observer.value("SELECT current_database()")

    async def demote(read_only: bool) -> None:
        word = "SET default_transaction_read_only = on" if read_only else "RESET ALL"
        await observer.connection.execute("SET default_transaction_read_only = off")
        await observer.connection.execute(f'ALTER DATABASE "{name}" {word}')

    yield demote
    await demote(False)


async def test_connections_to_a_primary_that_was_demoted_are_made_anew(
    db: AsyncDatabaseManager, observer: Observer, demoted: Any
):
    await demoted(True)
    pids = set(await asyncio.gather(*(_slow_pid(db) for _ in range(4))))
    await demoted(False)
    with pytest.raises(UnavailableError, match="accepts no writes"):
        await insert(db, "x")
    await asyncio.gather(*(insert(db, "y") for _ in range(4)))
    assert not pids & {await pid_of(db) for _ in range(4)}
    assert await observer.count() == 4
    assert_nothing_is_held(db)


async def test_run_gets_to_the_new_primary_by_itself(
    make_db: MakeDb, observer: Observer, demoted: Any
):
    db = make_db()
    await demoted(True)
    await asyncio.gather(*(_slow_pid(db) for _ in range(4)))
    await demoted(False)
    await asyncio.gather(*(db.run(lambda _: insert(db, "x")) for _ in range(8)))
    assert await observer.count() == 8


async def _slow_pid(db: AsyncDatabaseManager) -> int:
    rows = await db.fetch(
        Statement("SELECT pg_backend_pid() AS pid, pg_sleep(0.05)::text", label="pid")
    )
    return int(rows[0]["pid"])


async def test_a_write_in_a_unit_of_work_that_only_reads_is_its_authors_error(
    db: AsyncDatabaseManager,
):
    pid = await pid_of(db)
    for with_session in (False, True):
        with pytest.raises(UsageError, match="read_only"):
            async with db.unit_of_work(read_only=True) as uow:
                if with_session:
                    await uow.session.execute(text("DELETE FROM entry"))
                else:
                    await insert(db, "x")
    assert await pid_of(db) == pid, "which says nothing about the server"


# --------------------------------------------------------------------------------------------------------- new tables

EVERYTHING = Statement("SELECT * FROM changing", label="everything")


@pytest.fixture
async def changing(observer: Observer) -> AsyncGenerator[None]:
    await observer.connection.execute("CREATE TABLE changing (id uuid, note text)")
    yield
    await observer.connection.execute("DROP TABLE changing")


async def test_a_changed_table_costs_every_connection_one_look_and_not_one_failure_each(
    make_db: MakeDb, observer: Observer, changing: None
):
    db = make_db(pool_size=8, max_overflow=0, conflict_attempts=2)
    await asyncio.gather(*(_once(db) for _ in range(7)))
    await observer.connection.execute("ALTER TABLE changing ADD COLUMN more int")
    with suppress(SerializationError):
        async with db.unit_of_work():
            await db.fetch(EVERYTHING)
    await asyncio.gather(*(_once(db) for _ in range(14)))
    assert_nothing_is_held(db)


async def _once(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work() as uow:
        await db.fetch(EVERYTHING)
        await uow.session.execute(text(EVERYTHING.sql))
        await db.fetch(SLEEP, (0.02,))
