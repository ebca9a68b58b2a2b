"""The rows' report, and managers on a database with the ledger's tables, as tests/database has them."""

from __future__ import annotations

import pytest

from tests.database.conftest import make_db, make_ledger, observer, own_server, proxy
from tests.faults.report import report
from tests.harness.databases import Databases, run_apart

__all__ = ["make_db", "observer", "own_server", "proxy", "report"]


@pytest.fixture(scope="session")
def ledger_url(test_databases: Databases, worker_id: str) -> str:
    """A database with the ledger's tables."""
    return run_apart(make_ledger(test_databases, f"faults_{worker_id}"))
