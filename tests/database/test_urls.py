"""Database URLs and settings, and what the driver is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from tests.database.conftest import QUICK
from tests.database.ledger import Observer, insert
from tests.database.test_no_secrets import everything_it_shows
from timber.database.levels import TransactionOptions, local_settings
from timber.database.manager import AsyncDatabaseManager
from timber.database.pgbouncer import check_migrating, warn_of_feeds
from timber.database.statements import Statement
from timber.database.urls import connect_arguments, name_of, parse_url
from timber.errors import ConfigurationError, UsageError
from timber.settings import TimberSettings

PASSWORD = "canary-p%40ss"

# ---------------------------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize("url", [None, ""])
def test_no_url_names_both_ways(url: str | None):
    with pytest.raises(ConfigurationError, match=r"TIMBER_DATABASE_URL.*embedded"):
        AsyncDatabaseManager(url, settings=TimberSettings())


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        f"mysql://user:{PASSWORD}@host/db",
        f"sqlite:///{PASSWORD}",
        f"postgresql+psycopg2://user:{PASSWORD}@host/db",
        f"postgresql://user:{PASSWORD}@host:port/db",
        f"postgresql://user:{PASSWORD}@host/db?connect_timeout={PASSWORD}",
        f"postgresql://user:{PASSWORD}@host/db?statement_cache_size={PASSWORD}",
        f"postgresql://user:{PASSWORD}@host/db?statement_cache_size=nan",
        f"postgresql://user:{PASSWORD}@host/db?timeout={PASSWORD}",
        f"postgresql://user:{PASSWORD}@host/db?command_timeout=1e999",
        f"postgresql://user:{PASSWORD}@host/db?server_settings={PASSWORD}",
        f"postgresql://user:{PASSWORD}@host/db?options={PASSWORD}",
        f"postgresql://user:{PASSWORD}@host/db?unknown=1",
        f"://{PASSWORD}",
    ],
)
def test_a_url_that_cannot_be_used_is_a_configuration_error_without_the_password(url: str):
    with pytest.raises(ConfigurationError) as caught:
        AsyncDatabaseManager(url, settings=TimberSettings())
    shown = everything_it_shows(caught.value)
    assert "canary" not in "\n".join(line for line in shown.splitlines() if "PASSWORD" not in line)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_scheme_of_postgresql_becomes_asyncpgs(scheme: str):
    url = parse_url(f"{scheme}://user:pw@host:1/db")
    assert url.drivername == "postgresql+asyncpg"
    assert name_of(url) == "database 'db' on host:1"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u@/shop?host=/var/run", "database 'shop' on /var/run"),
        ("postgresql://u@a/shop", "database 'shop' on a"),
        ("postgresql://u@/shop", "database 'shop' on localhost"),
        ("postgresql://u@/shop?host=a&host=b", "database 'shop' on a,b"),
    ],
)
def test_the_name_of_a_database(url: str, name: str):
    assert name_of(parse_url(url)) == name


def test_what_the_driver_is_told():
    settings = TimberSettings(
        statement_timeout=1.5,
        lock_timeout=0.25,
        idle_in_transaction_session_timeout=7,
        connect_timeout=3,
    )
    url = parse_url("postgresql://u@h/d?sslmode=require&statement_cache_size=5")
    arguments = connect_arguments(url, settings)
    assert arguments["timeout"] == 3
    assert arguments["ssl"] == "require"
    assert arguments["statement_cache_size"] == 5
    assert arguments["server_settings"] == {
        "application_name": "timber",
        "statement_timeout": "1500",
        "lock_timeout": "250",
        "idle_in_transaction_session_timeout": "7000",
    }
    url = parse_url("postgresql://u@h/d?connect_timeout=2&application_name=shop")
    arguments = connect_arguments(url, settings)
    assert arguments["timeout"] == 2
    assert arguments["server_settings"]["application_name"] == "shop"


def test_a_way_of_encrypting_that_there_is_not_is_refused_with_those_there_are():
    for mode in ("prefer", "verify-full", "verify_full"):
        url = parse_url(f"postgresql://u@h/d?sslmode={mode}")
        assert connect_arguments(url, TimberSettings())["ssl"] == mode
    with pytest.raises(ConfigurationError, match="one of disable, allow, prefer, require"):
        connect_arguments(parse_url("postgresql://u@h/d?sslmode=yes"), TimberSettings())


def test_the_repr_of_settings_and_engine_hides_the_password():
    settings = TimberSettings(database_url=f"postgresql://user:{PASSWORD}@host/db")
    db = AsyncDatabaseManager(settings=settings)
    for shown in (repr(settings), str(settings), repr(db.engine), str(db.engine.url), db.target):
        assert "canary" not in shown


def test_the_defaults_are_those_of_the_design():
    settings = TimberSettings()
    assert (settings.pool_size, settings.max_overflow) == (20, 40)
    assert (settings.pool_timeout, settings.pool_recycle, settings.connect_timeout) == (
        30,
        3600,
        10,
    )
    assert (settings.statement_timeout, settings.commit_timeout, settings.ping_after) == (30, 5, 30)
    assert (settings.application_name, settings.slow_query_seconds) == ("timber", 1)
    assert (settings.conflict_attempts, settings.conflict_wait) == (5, 0.01)
    assert (settings.outage_attempts, settings.outage_wait, settings.outage_wait_max) == (3, 1, 10)


async def test_through_a_pooler_no_statement_keeps_a_name(ledger_url: str, observer: Observer):
    """PgBouncer gives each transaction another connection: a named statement would be missing there, or in the way."""
    url = make_url(ledger_url).update_query_dict({"statement_cache_size": "0"})
    db = AsyncDatabaseManager(url, settings=TimberSettings(**QUICK))
    names = Statement("SELECT name FROM pg_prepared_statements", label="names")
    async with db.unit_of_work() as uow:
        await insert(db, "x")
        for _ in range(3):
            await uow.session.execute(text("SELECT id FROM entry WHERE note = :n"), {"n": "x"})
        found = [row["name"] for row in await db.fetch(names)]
        seen = await uow.session.scalars(text(names.sql))
        found += seen.all()
    assert len(found) == len(set(found)), "the adapter's are told apart"
    assert not [name for name in found if name.startswith("__asyncpg_stmt_")]
    await db.dispose()


def test_behind_a_pooler_the_adapter_keeps_no_statements_either():
    url = parse_url("postgresql://u@h/d?statement_cache_size=0")
    arguments = connect_arguments(url, TimberSettings())
    assert arguments["prepared_statement_cache_size"] == 0
    names = {arguments["prepared_statement_name_func"]() for _ in range(100)}
    assert len(names) == 100
    url = parse_url("postgresql://u@h/d?prepared_statement_cache_size=0")
    assert connect_arguments(url, TimberSettings())["prepared_statement_cache_size"] == 0


def test_paths_are_paths(tmp_path: Path):
    assert name_of(parse_url(f"postgresql://u@/d?host={tmp_path}")).endswith(str(tmp_path))


# ------------------------------------------------------------------------------------------------------ behind PgBouncer


def test_behind_pgbouncer_a_connection_has_no_settings_and_keeps_no_statements():
    settings = TimberSettings(pgbouncer=True, lock_timeout=3, application_name="shop")
    arguments = connect_arguments(parse_url("postgresql://u@h/d"), settings)
    assert arguments["server_settings"] == {"application_name": "shop"}
    assert arguments["statement_cache_size"] == 0
    assert arguments["prepared_statement_cache_size"] == 0
    names = {arguments["prepared_statement_name_func"]() for _ in range(10)}
    assert len(names) == 10


@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout"])
def test_a_timeout_that_postgresql_cannot_count_is_refused(name: str):
    for seconds in (1e308, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="24 days"):
            TransactionOptions(**{name: seconds})
    TransactionOptions(**{name: 2_147_483})


def test_a_transaction_makes_the_settings_that_a_connection_cannot_have():
    local = local_settings(TimberSettings(pgbouncer=True, lock_timeout=3))
    assert TransactionOptions().begin(30, local) == (
        "BEGIN; SET LOCAL statement_timeout = 30000; SET LOCAL lock_timeout = 3000; "
        "SET LOCAL idle_in_transaction_session_timeout = 60000"
    )
    assert "lock_timeout = 1000" in TransactionOptions(lock_timeout=1).begin(30, local)
    assert TransactionOptions().begin(30, {}) == "BEGIN"


async def test_what_needs_a_session_is_refused_behind_pgbouncer_and_says_what_to_do(
    ledger_url: str, caplog: pytest.LogCaptureFixture
):
    db = AsyncDatabaseManager(ledger_url, settings=TimberSettings(pgbouncer=True))
    with pytest.raises(ConfigurationError, match="listen_url"):
        db.listener.watch("news", "key")
    await db.dispose()
    with pytest.raises(ConfigurationError, match="Migrations"):
        check_migrating(TimberSettings(pgbouncer=True))
    warn_of_feeds(TimberSettings(pgbouncer=True, listen_url=ledger_url), ["Notification"])
    assert not caplog.records
    warn_of_feeds(TimberSettings(pgbouncer=True), ["Notification"])
    assert "listen_url" in caplog.text
