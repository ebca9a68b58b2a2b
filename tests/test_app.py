from __future__ import annotations

import asyncio
import gc
import logging
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import make_url

from timber import (
    ConfigurationError,
    DatabaseError,
    ModelRegistry,
    NotFoundError,
    SerializationError,
    SessionDTO,
    Timber,
    TimberSettings,
    UnavailableError,
    UnitOfWork,
    UsageError,
    initialize_timber,
)
from timber.settings import SettingsKeywords

PASSWORD = "correct-horse-battery"


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that a server under another account can reach, unlike pytest's own when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="timber-app-") as path:
        yield Path(path)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncGenerator[int]:
    """Something that listens like PostgreSQL, and says this to whoever connects, or nothing at all."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        if answer is not None:
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def refusal(code: str, message: str) -> bytes:
    """PostgreSQL's ErrorResponse."""
    fields = b"".join(
        kind + value.encode() + b"\0"
        for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", message))
    )
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"


async def assert_nothing_is_left(before: set[asyncio.Task[object]]) -> None:
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


# Start


async def test_a_timber_is_wired_by_its_start(database_url, clean_tables):
    timber = Timber(database_url=database_url)
    assert timber.registry.list_models()  # which need no database
    for name in ("db", "sessions", "research"):
        with pytest.raises(UsageError, match="has not been started"):
            getattr(timber, name)
    assert await timber.start() is timber
    assert timber.sessions.db is timber.research.db is timber.db
    assert timber.sessions.registry is timber.registry
    with pytest.raises(UsageError, match="running already"):
        await timber.start()
    await timber.close()
    await timber.close()
    with pytest.raises(UsageError, match="is closed"):
        timber.sessions  # noqa: B018  # it raises


async def test_initialize_timber_is_a_started_one(database_url):
    timber = await initialize_timber(database_url, pool_size=1)
    assert await timber.db.health_check()
    assert timber.settings.pool_size == 1
    await timber.close()


async def test_a_closed_timber_can_be_started_again(database_url, clean_tables):
    timber = Timber(database_url)
    for _ in range(2):
        async with timber:
            await timber.sessions.create_session("user-1", "research")


async def test_settings_come_from_the_environment_or_as_a_whole(database_url, monkeypatch):
    monkeypatch.setenv("TIMBER_DATABASE_URL", database_url)
    monkeypatch.setenv("TIMBER_POOL_SIZE", "3")
    assert Timber().settings.pool_size == 3
    assert Timber(pool_size=4).settings.pool_size == 4
    settings = TimberSettings(pool_size=5)
    assert Timber(settings=settings).settings is settings
    with pytest.raises(ConfigurationError, match="pool_size"):
        Timber(settings=settings, pool_size=6)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, field in TimberSettings.model_fields.items()
        if field.annotation in (int, int | None)
    ],
)
def test_a_number_too_long_to_be_written_down_is_refused_as_a_setting(database_url, name):
    with pytest.raises(ConfigurationError, match=name):
        Timber(database_url, **{name: Decimal("1E+1000000")})


def test_every_setting_is_a_keyword():
    assert set(SettingsKeywords.__annotations__) == set(TimberSettings.model_fields) - {
        "database_url"
    }


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({}, "TIMBER_DATABASE_URL.*embedded"),
        ({"database_url": "nonsense"}, "postgresql://user:password@host"),
        ({"database_url": "mysql://host/name"}, "begins with mysql://"),
        ({"database_url": "postgresql://h/n", "pool_sice": 3}, "pool_sice"),
        ({"database_url": "postgresql://h/n", "pool_size": 0}, "pool_size"),
        ({"database_url": "postgresql://h/n", "pool_timeout": "soon"}, "pool_timeout"),
        ({"database_url": "postgresql://h/n", "lock_timeout": 1e308}, "lock_timeout"),
        (
            {
                "database_url": "postgresql://h/n",
                "registry": ModelRegistry(),
                "model_config_dirs": ["x"],
            },
            "either registry or model_config_dirs",
        ),
    ],
)
def test_a_wrong_setting_is_named(keywords, said):
    with pytest.raises(ConfigurationError, match=said):
        Timber(**keywords)


async def test_a_missing_folder_of_models_stops_the_start(database_url, tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        await Timber(database_url, model_config_dirs=[tmp_path / "nowhere"]).start()


async def test_a_server_that_is_down_is_named_at_once(free_port):
    before = asyncio.all_tasks()
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        await Timber(f"postgresql://app:{PASSWORD}@127.0.0.1:{free_port}/shop").start()
    assert time.monotonic() - began < 2
    assert str(caught.value) == (
        f"Cannot reach database 'shop' on 127.0.0.1:{free_port}: nothing listens there."
    )
    await assert_nothing_is_left(before)


async def test_a_server_that_says_nothing_is_given_up_in_time():
    before = asyncio.all_tasks()
    async with server(None) as port:
        began = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            await Timber(
                f"postgresql://app:{PASSWORD}@127.0.0.1:{port}/shop", connect_timeout=0.5
            ).start()
        assert time.monotonic() - began < 2
    assert "database 'shop' on 127.0.0.1" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    await asyncio.sleep(0.05)
    await assert_nothing_is_left(before)


async def test_an_unknown_host_is_named():
    with pytest.raises(UnavailableError, match=r"shop.*no-such-host\.invalid.*not known"):
        await Timber(f"postgresql://app:{PASSWORD}@no-such-host.invalid/shop").start()


async def test_a_wrong_password_is_said_without_showing_it():
    async with server(refusal("28P01", f"authentication failed for {PASSWORD}")) as port:
        with pytest.raises(ConfigurationError) as caught:
            await Timber(
                f"postgresql://app:{PASSWORD}@127.0.0.1:{port}/shop?sslmode=disable"
            ).start()
    said = str(caught.value)
    assert f"Cannot log in to database 'shop' on 127.0.0.1:{port}" in said
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


async def test_a_missing_database_is_named(database_url):
    url = make_url(database_url).set(database="no_such_database")
    with pytest.raises(ConfigurationError, match=r"no_such_database.*no such database"):
        await Timber(url.render_as_string(hide_password=False)).start()


async def test_missing_tables_are_said_with_what_to_do(bare_database_url):
    async with Timber(bare_database_url) as timber:
        with pytest.raises(DatabaseError, match="create_all_tables"):
            await timber.sessions.create_session("user-1", "research")
        await timber.db.create_all_tables()
        await timber.sessions.create_session("user-1", "research")


async def test_the_password_is_in_no_picture_of_it(free_port):
    timber = Timber(f"postgresql://app:{PASSWORD}@127.0.0.1:{free_port}/shop")
    assert PASSWORD not in f"{timber!r} {timber.settings!r} {timber.settings}"


# The embedded server


async def test_embedded_starts_a_server_with_tables_and_stops_it(folder):
    async with Timber("embedded", embedded_directory=folder) as timber:
        session = await timber.sessions.create_session("user-1", "research")
        assert await timber.sessions.get_session(session.id) == session
        assert _postmaster(folder).exists()
    assert not _postmaster(folder).exists()
    async with Timber("embedded", embedded_directory=folder) as timber:
        assert await timber.sessions.get_session(session.id) == session


def _postmaster(directory: Path) -> Path:
    return directory / "postgres" / "data" / "postmaster.pid"


async def test_embedded_is_refused_in_production(folder):
    with pytest.raises(ConfigurationError, match="production"):
        await Timber("embedded", env="production", embedded_directory=folder).start()
    assert list(folder.iterdir()) == []


# Two of them


async def test_two_timbers_never_meet(database_url, fresh_database_url, clean_tables):
    async with Timber(database_url) as one, Timber(fresh_database_url) as two:
        assert one.registry.metadata is not two.registry.metadata
        assert one.registry.get_model("Session") is not two.registry.get_model("Session")
        with pytest.raises(ZeroDivisionError):
            async with one.unit_of_work():
                await one.sessions.create_session("user-1", "research")
                await two.sessions.create_session("user-1", "research")
                raise ZeroDivisionError
        assert await one.sessions.count_user_sessions("user-1") == 0
        assert await two.sessions.count_user_sessions("user-1") == 1
        async with one.unit_of_work():
            await two.close()
        await one.sessions.create_session("user-1", "research")


# Work


async def test_a_unit_of_work_spans_services(timber):
    done = []
    uow = timber.unit_of_work()
    assert uow.outcome is None
    async with uow:
        session = await timber.sessions.create_session("user-1", "research")
        item = await timber.research.save_research(session.id, {"pe": 29.1}, "fundamental")
        uow.on_commit(lambda: done.append(item.id))
    assert uow.outcome == "committed"
    assert done == [item.id]


async def test_run_repeats_the_whole_when_it_loses(timber):
    attempts = []

    async def body(uow: UnitOfWork) -> SessionDTO:
        session = await timber.sessions.create_session("user-1", "research")
        attempts.append(session.id)
        if len(attempts) < 3:
            raise SerializationError(sqlstate="40001")
        return session

    session = await timber.run(body, isolation="serializable")
    assert attempts[2] == session.id
    assert await timber.sessions.get_user_sessions("user-1") == [session]


async def test_a_repository_of_any_dto_is_made_once(timber):
    class Summary(SessionDTO):
        pass

    repository = timber.repository("Session", Summary)
    assert timber.repository("Session", Summary) is repository
    session = await timber.sessions.create_session("user-1", "research")
    assert type(await repository.get(session.id)) is Summary
    model = timber.registry.get_model("Session")
    assert (await timber.repository(model, Summary).get(session.id)).id == session.id
    with pytest.raises(ConfigurationError, match="Sesion"):
        timber.repository("Sesion", Summary)


# The end


async def test_closing_waits_for_a_unit_of_work_and_refuses_new_ones(database_url, clean_tables):
    timber = await Timber(database_url).start()
    sessions = timber.sessions
    entered, go_on = asyncio.Event(), asyncio.Event()
    called: list[object] = []

    async def work() -> UnitOfWork:
        uow = timber.unit_of_work()
        async with uow:
            entered.set()  # nothing has been sent yet
            await go_on.wait()
            await sessions.create_session("user-1", "research")
            async with timber.unit_of_work(independent=True):
                await sessions.create_session("user-1", "trading")
            uow.on_commit(look)
        return uow

    async def look() -> None:
        called.append(await sessions.count_user_sessions("user-1"))

    working = asyncio.create_task(work())
    await entered.wait()
    closing = asyncio.create_task(timber.close(drain=5))
    await asyncio.sleep(0.02)
    for refused in (
        sessions.create_session("user-2", "research"),
        sessions.repository.count(),
        timber.unit_of_work().__aenter__(),
        timber.run(lambda uow: sessions.repository.count()),
    ):
        with pytest.raises(UnavailableError, match="being closed"):
            async with asyncio.timeout(5):
                await refused
    assert not await timber.db.health_check()
    assert not closing.done()
    go_on.set()
    uow = await working
    await closing
    assert uow.outcome == "committed"
    assert called == [2]
    with pytest.raises(UnavailableError, match="is closed"):
        await sessions.repository.count()


async def test_closing_waits_for_a_call_that_is_between_two_statements(database_url, clean_tables):
    timber = await Timber(database_url).start()
    research = timber.research
    loading = asyncio.Event()

    async def load() -> dict[str, int]:
        loading.set()
        await asyncio.sleep(0.1)
        return {"n": 1}

    call = asyncio.create_task(research.get_or_compute("key", load, max_age=timedelta(hours=1)))
    await loading.wait()
    await timber.close(drain=5)
    assert (await call).content == {"n": 1}


async def test_what_does_not_end_in_time_is_cut_off(database_url, clean_tables, caplog):
    timber = await Timber(database_url).start()
    sessions = timber.sessions
    begun = asyncio.Event()

    async def work(uow: UnitOfWork) -> None:
        async with uow:
            await sessions.create_session("user-1", "research")
            begun.set()
            await asyncio.sleep(0.3)

    uow = timber.unit_of_work()
    working = asyncio.create_task(work(uow))
    await begun.wait()
    caplog.set_level(logging.WARNING)
    await timber.close(drain=0.05)
    assert "cut off 1" in caplog.text
    with pytest.raises(UnavailableError):
        await working
    assert uow.outcome == "rolled_back"
    async with Timber(database_url) as other:
        assert await other.sessions.count_user_sessions("user-1") == 0


async def test_closing_inside_its_own_work_is_refused(timber):
    async with timber.unit_of_work():
        with pytest.raises(UsageError, match="waits for itself"):
            await timber.close()
        await timber.sessions.create_session("user-1", "research")
    assert await timber.sessions.count_user_sessions("user-1") == 1


async def test_an_error_inside_the_block_passes_and_closes(database_url):
    timber = Timber(database_url)
    with pytest.raises(NotFoundError):
        async with timber:
            raise NotFoundError
    with pytest.raises(UsageError, match="is closed"):
        timber.sessions  # noqa: B018  # it raises


async def test_a_timber_that_is_never_closed_is_warned_about(database_url):
    timber = await Timber(database_url).start()
    db = timber.db
    with pytest.warns(ResourceWarning, match="was never closed"):  # noqa: PT031  # it comes with either
        del timber
        gc.collect()
    await db.dispose()


async def test_the_clock_is_one_for_all(database_url, clean_tables):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    async with Timber(database_url, clock=lambda: now) as timber:
        session = await timber.sessions.create_session("user-1", "research")
        item = await timber.research.save_research(session.id, {}, "note")
        assert session.created_at == item.created_at == timber.db.clock() == now
