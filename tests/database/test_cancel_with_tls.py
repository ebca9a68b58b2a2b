"""The cancel protocol over TLS: a request goes the encrypted way too, its connection's end is waited for, and nobody else is hit."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    KEYS,
    SLEEP,
    Base,
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from tests.database.test_cancel_protocol import (
    cancelled_after,
    connections_made,
    send_requests_by,
)
from tests.database.tls import TlsProxy, TlsServer, make_certificate, programs_with_tls
from tests.harness.proxy import Proxy
from timber.database import driver
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import QueryTimeoutError
from timber.settings import TimberSettings

IS_ENCRYPTED = Statement(
    "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", label="encrypted"
)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


@pytest.fixture
async def tls(ledger_url: str, certificate: tuple[Path, Path]) -> AsyncGenerator[TlsProxy]:
    async with TlsProxy(ledger_url, *certificate) as proxy:
        yield proxy


async def cancel_often(db: AsyncDatabaseManager) -> None:
    """Each cancelled statement is longer than patience, so that the server is asked; the next one follows at once."""
    pid = await pid_of(db)
    made = connections_made(db)
    for _ in range(5):
        await cancelled_after(0.03, db.fetch(SLEEP, (30.0,)))
        async with db.unit_of_work():
            await insert(db, "next")
            await db.fetch(SLEEP, (0.05,))
    assert await pid_of(db) == pid
    assert made() == 0
    assert_nothing_is_held(db)


async def test_requests_go_the_encrypted_way_and_hit_nobody_else(
    make_db: MakeDb, tls: TlsProxy, observer: Observer
):
    db = make_db(tls.url, pool_size=1, max_overflow=0)
    await db.ping()
    before = tls.encrypted
    await cancel_often(db)
    assert tls.encrypted - before == 5, "one for each request"
    assert tls.plain == 0
    assert await observer.notes() == ["next"] * 5


@pytest.fixture
async def late(tls: TlsProxy) -> AsyncGenerator[Proxy]:
    """A way on which everything takes 0.08 s: some 0.4 s for a request with its handshake."""
    async with Proxy(tls.url) as slow:
        slow.delay(0.08)
        yield slow


async def cancel_late(make_db: MakeDb, tls: TlsProxy, late: Proxy) -> None:
    db = make_db(tls.url, pool_size=1, max_overflow=0)
    pid = await pid_of(db)
    await send_requests_by(late, db)
    for sleep in (0.1, 0.2):
        await cancelled_after(0.01, db.fetch(SLEEP, (sleep,)))
        await db.fetch(SLEEP, (0.8,))
    assert late.accepted > 0
    assert await pid_of(db) == pid


async def test_a_request_that_is_late_does_not_hit_the_next_statement(
    make_db: MakeDb, tls: TlsProxy, late: Proxy
):
    await cancel_late(make_db, tls, late)


async def test_the_test_above_sees_a_driver_that_does_not_wait_for_the_request(
    make_db: MakeDb, tls: TlsProxy, late: Proxy, monkeypatch: pytest.MonkeyPatch
):
    underway: set[asyncio.Task[None]] = set()
    right = driver.request_cancel

    async def forgetful(connection: object) -> None:
        underway.add(asyncio.create_task(right(connection)))

    monkeypatch.setattr(driver, "request_cancel", forgetful)
    with pytest.raises(QueryTimeoutError):
        await cancel_late(make_db, tls, late)
    await asyncio.wait(underway)


@pytest.fixture
def tls_server() -> Generator[TlsServer]:
    programs = programs_with_tls()
    if programs is None:
        pytest.skip("there is no PostgreSQL with TLS on this machine: the embedded one has none")
    # Not in pytest's own folder: as root the server runs as somebody else.
    with tempfile.TemporaryDirectory(prefix="timber-tls-", ignore_cleanup_errors=True) as folder:
        server = TlsServer(Path(folder), programs)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")


async def test_a_server_that_speaks_tls_itself(tls_server: TlsServer):
    db = AsyncDatabaseManager(tls_server.url, settings=TimberSettings(pool_size=1, max_overflow=0))
    await db.create_all_tables(Base)
    shown = await db.fetch(IS_ENCRYPTED)
    assert shown[0]["ssl"] is True
    await cancel_often(db)
    assert len(await db.fetch(KEYS)) == 5
    await db.dispose()
