"""The rows' report, and managers on a database with the ledger's tables, as tests/database has them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.database.conftest import make_db, make_ledger, observer, own_server, proxy
from tests.faults.report import report
from tests.harness.databases import Databases, run_apart
from tests.harness.postgres import Postgres

__all__ = ["make_db", "observer", "own_server", "proxy", "report"]


@pytest.fixture(scope="session")
def ledger_url(test_databases: Databases, worker_id: str) -> str:
    """A database with the ledger's tables."""
    return run_apart(make_ledger(test_databases, f"faults_{worker_id}"))


@pytest.fixture(scope="session")
def _server() -> Generator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="timber-own-", ignore_cleanup_errors=True) as folder:
        # The writer of the log would flush what a test wants to see lost.
        server = Postgres(Path(folder) / "one", wal_writer_delay="10s", autovacuum="off")
        try:
            yield server
        finally:
            server.thaw()
            server.stop("immediate")


@pytest.fixture
def server(_server: Postgres) -> Postgres:
    """A server to be killed, frozen and restarted, running when the test begins."""
    if _server.pid is None:
        _server.start()
    return _server


@pytest.fixture(scope="session")
def _pair() -> Generator[list[Postgres]]:
    with tempfile.TemporaryDirectory(prefix="timber-own-", ignore_cleanup_errors=True) as folder:
        pair = [Postgres(Path(folder) / name, autovacuum="off") for name in ("primary", "replica")]
        try:
            pair[0].start()
            pair[1].follow(pair[0])
            yield pair
        finally:
            for server in pair:
                server.stop("immediate")


@pytest.fixture
def pair(_pair: list[Postgres]) -> list[Postgres]:
    """The primary, and its replica."""
    if _pair[1].pid is None:
        # Whatever it was stopped in, or killed.
        shutil.rmtree(_pair[1].data)
        _pair[1].follow(_pair[0])
    return _pair
