"""Whatever keeps a manager from its database ends in one clear error, in time, with nothing half-written."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from sqlalchemy import make_url, text

from tests.database.conftest import QUICK, MakeDb
from tests.database.ledger import KEYS, Base, Observer, assert_nothing_is_held, insert
from tests.database.own_server import OwnServer
from tests.database.test_no_secrets import everything_it_shows
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConfigurationError, DatabaseError, ServiceError, UnavailableError
from timber.settings import TimberSettings

PASSWORD = "canary-p%40ss"
SECRET = "canary-p@ss"

Use = Callable[[AsyncDatabaseManager], Any]


async def _read(db: AsyncDatabaseManager) -> None:
    await db.fetch(KEYS)


async def _write(db: AsyncDatabaseManager) -> None:
    await insert(db)


async def _unit(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work():
        await insert(db)


async def _run(db: AsyncDatabaseManager) -> None:
    await db.run(lambda _: insert(db))


async def _scope(db: AsyncDatabaseManager) -> None:
    async with db.session_scope() as session:
        await session.execute(text("SELECT 1"))


async def _session(db: AsyncDatabaseManager) -> None:
    async with db.get_session() as session:
        await session.execute(text("SELECT 1"))


async def _tables(db: AsyncDatabaseManager) -> None:
    await db.create_all_tables(Base)


async def _stream(db: AsyncDatabaseManager) -> None:
    async with db.cursor(KEYS):
        pass


USES: list[Use] = [_read, _write, _unit, _run, _scope, _session, _tables, _stream]
every_use = pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__.strip("_"))


async def error_of(url: str, use: Use, **settings: Any) -> tuple[ServiceError, float]:
    db = AsyncDatabaseManager(
        url, settings=TimberSettings(**{**QUICK, "connect_timeout": 0.5, **settings})
    )
    started = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        await use(db)
    seconds = time.monotonic() - started
    assert not await db.health_check()
    assert_nothing_is_held(db)
    await db.dispose()
    shown = everything_it_shows(caught.value)
    assert SECRET not in shown
    assert PASSWORD not in shown
    return caught.value, seconds


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@every_use
async def test_a_server_that_is_down(use: Use, closed_port: int):
    url = f"postgresql://user:{PASSWORD}@127.0.0.1:{closed_port}/shop"
    error, seconds = await error_of(url, use)
    assert isinstance(error, UnavailableError)
    assert f"database 'shop' on 127.0.0.1:{closed_port}" in str(error)
    assert error.status == 503
    assert seconds < 2


@every_use
async def test_a_wrong_password(use: Use, own_server: OwnServer):
    error, seconds = await error_of(own_server.url_of("guarded", SECRET), use)
    assert isinstance(error, ConfigurationError)
    assert "password" in str(error)
    assert "database 'postgres' on " in str(error)
    assert seconds < 2


async def test_the_right_password(own_server: OwnServer):
    db = AsyncDatabaseManager(
        own_server.url_of("guarded", "right"), settings=TimberSettings(**QUICK)
    )
    assert await db.health_check()
    await db.dispose()


@every_use
async def test_a_database_that_does_not_exist(use: Use, ledger_url: str):
    url = make_url(ledger_url).set(database="nowhere").render_as_string(hide_password=False)
    error, _ = await error_of(url, use)
    assert isinstance(error, ConfigurationError)
    assert "database 'nowhere'" in str(error)


@every_use
async def test_a_host_that_nobody_knows(use: Use):
    error, _ = await error_of(
        f"postgresql://user:{PASSWORD}@nowhere.invalid/shop", use, connect_timeout=5
    )
    assert isinstance(error, UnavailableError)
    assert "'shop' on nowhere.invalid" in str(error)


@pytest.fixture
async def silent_port() -> AsyncGenerator[int]:
    """Accepts connections and says nothing."""
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for writer in held:
        writer.close()
    server.close()


@every_use
async def test_a_server_that_says_nothing_costs_no_more_than_the_connect_timeout(
    use: Use, silent_port: int
):
    url = f"postgresql://user:{PASSWORD}@127.0.0.1:{silent_port}/shop"
    error, seconds = await error_of(url, use, connect_timeout=0.2, outage_attempts=1)
    assert isinstance(error, UnavailableError)
    assert "no answer in time" in str(error)
    assert f"'shop' on 127.0.0.1:{silent_port}" in str(error)
    assert 0.19 < seconds < 1.5


@every_use
async def test_something_that_is_not_postgresql(use: Use):
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error, _ = await error_of(f"postgresql://user:{PASSWORD}@127.0.0.1:{port}/shop", use)
    assert f"'shop' on 127.0.0.1:{port}" in str(error)
    server.close()


async def test_a_server_with_no_connection_left(observer: Observer, proxy: Proxy, make_db: MakeDb):
    await observer.connection.execute(
        "DROP ROLE IF EXISTS crowded; CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD 'x'"
    )
    try:
        url = make_url(proxy.url).set(username="crowded", password=SECRET)
        error, _ = await error_of(url.render_as_string(hide_password=False), _read)
        assert isinstance(error, UnavailableError | ConfigurationError)
        assert "database" in str(error)
    finally:
        await observer.connection.execute("DROP ROLE crowded")


@pytest.mark.parametrize("use", [_read, _write, _unit, _run, _stream], ids=lambda use: use.__name__)
async def test_missing_tables(use: Use, bare_database_url: str):
    db = AsyncDatabaseManager(bare_database_url, settings=TimberSettings(**QUICK))
    with pytest.raises(
        DatabaseError, match=r"table is missing in database '.*' on .*create_all"
    ) as caught:
        await use(db)
    assert caught.value.sqlstate == "42P01"
    assert_nothing_is_held(db)
    await db.create_all_tables(Base)
    await use(db)
    await db.drop_all_tables(Base)
    with pytest.raises(DatabaseError):
        await db.fetch(KEYS)
    await db.dispose()


async def test_a_server_that_comes_back_is_found_without_help(make_db: MakeDb, proxy: Proxy):
    db = make_db(proxy.url, outage_attempts=1)
    await db.ping()
    await proxy.refuse()
    proxy.cut_all()
    with pytest.raises(UnavailableError):
        await db.ping()
    assert not await db.health_check()
    await proxy.accept()
    await db.ping()
    assert await db.health_check()


async def test_health_check_answers_within_the_connect_timeout(make_db: MakeDb, proxy: Proxy):
    db = make_db(proxy.url, connect_timeout=0.2)
    assert await db.health_check()
    proxy.freeze()
    started = time.monotonic()
    assert not await db.health_check()
    assert time.monotonic() - started < 0.9, "not the time of a rollback on top"
    proxy.heal()
    assert await db.health_check()


@pytest.mark.parametrize("parameter", ["command_timeout=-1", "statement_cache_size=-1"])
async def test_a_parameter_of_the_url_that_the_driver_does_not_take(parameter: str):
    url = f"postgresql://user:{PASSWORD}@127.0.0.1:9/db?{parameter}"
    error, _ = await error_of(url, _read)
    assert isinstance(error, ConfigurationError)
    assert "asyncpg" in str(error)
