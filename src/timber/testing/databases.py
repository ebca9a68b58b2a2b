"""The database that tests run on: one for each worker, on a server that is given or on an embedded one."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from timber.database.embedded import EmbeddedPostgres
from timber.database.embedded_watch import Postmaster, nobody_else
from timber.database.manager import AsyncDatabaseManager
from timber.database.urls import parse_url
from timber.errors import ConfigurationError
from timber.features.built_in import features_of
from timber.models.registry import ModelRegistry
from timber.settings import make_settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Mapping

    from timber.settings import SettingsKeywords, TimberSettings

T = TypeVar("T")

# What a crash would lose is a test's: no reason to wait for the disk.
_IN_A_HURRY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_FILLED: Final = sa.text(
    """
    SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables
    WHERE schemaname = current_schema() AND pg_relation_size(relid) > 0
    """
)


@dataclass(frozen=True, slots=True)
class DatabaseForTests:
    """A database of one test worker, with the tables of the models."""

    url: str

    async def clean(self) -> None:
        """Empty every table."""
        engine = create_async_engine(self.url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                await connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
                filled = list(await connection.scalars(_FILLED))
                if filled:
                    await connection.execute(
                        sa.text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE")
                    )
        finally:
            await engine.dispose()


@contextmanager
def database_for_tests(
    server_url: str | None, *, worker: str, run: str, options: Mapping[str, Any]
) -> Generator[DatabaseForTests]:
    """A database made for one worker of one run, and dropped at the end.

    Args:
        server_url: a server where databases may be created; None for an embedded one that all workers share.
        options: what :class:`~timber.Timber` takes beside the URL, for its models.
    """
    with _server(server_url, run) as url:
        name = f"timber_test_{run}_{worker}"
        run_apart(_in_autocommit(url, f'CREATE DATABASE "{name}"'))
        database = parse_url(url).set(database=name).render_as_string(hide_password=False)
        try:
            run_apart(_make_tables(database, options))
            yield DatabaseForTests(database)
        finally:
            run_apart(_in_autocommit(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@contextmanager
def _server(given: str | None, run: str) -> Generator[str]:
    if given is not None:
        yield given
        return
    # Not below pytest's own folder: the server has an account of its own where root runs the tests.
    directory = Path(tempfile.gettempdir()) / f"timber-test-{run}"
    server = EmbeddedPostgres.start_blocking(directory, server_settings=_IN_A_HURRY)
    try:
        yield server.url
    finally:
        server.stop_blocking()
        _remove_if_last(directory)


def _remove_if_last(directory: Path) -> None:
    with suppress(FileNotFoundError):
        with nobody_else(directory):
            if Postmaster.of(directory / "data") is not None:
                return
            aside = directory.with_name(f"{directory.name}-{os.getpid()}")
            directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


async def _in_autocommit(url: str, sql: str) -> None:
    engine = create_async_engine(parse_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text(sql))
    except DBAPIError as error:
        raise ConfigurationError(
            f"{sql.partition(' ')[0]} DATABASE failed on the server for tests ({error.orig.__class__.__name__}). Its URL, "
            "TIMBER_TEST_DATABASE_URL, is to name a role that may create databases."
        ) from None
    finally:
        await engine.dispose()


async def _make_tables(url: str, options: Mapping[str, Any]) -> None:
    """The tables alone: what models ask of a Timber beyond them is the tests' to give."""
    given = dict(options)
    registry: ModelRegistry | None = given.pop("registry", None)
    providers = given.pop("providers", ())
    for name in ("clock", "dtos"):
        given.pop(name, None)
    settings: TimberSettings = given.pop("settings", None) or make_settings(
        url, None, cast("SettingsKeywords", given)
    )
    if registry is None:
        registry = ModelRegistry(
            dirs=settings.model_config_dirs,
            features=features_of(settings, providers).providers,
            search_language=settings.search_language,
        )
    db = AsyncDatabaseManager(url, settings=settings, metadata=registry.metadata)
    try:
        await db.create_all_tables()
    finally:
        await db.close()


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run from a fixture that is not async, without touching the event loop of the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
