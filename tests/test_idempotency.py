"""Commands under a key happen once: repeats get the first result, two at once run once, and nothing doubles in an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.harness.databases import connected
from tests.harness.proxy import Direction, Proxy
from timber import SessionDTO, Timber, UnitOfWork, deadline
from timber.database.idempotency import IdempotentCommands
from timber.dto import DTO
from timber.errors import (
    CommitOutcomeUnknownError,
    ConflictError,
    QueryTimeoutError,
    UnavailableError,
    UsageError,
    ValidationError,
)

QUICK: dict[str, Any] = {"outage_wait": 0.005, "outage_wait_max": 0.02, "conflict_wait": 0.001}


@pytest.fixture
async def timber(database_url: str, clean_tables: None) -> AsyncGenerator[Timber]:
    async with Timber(database_url, **QUICK) as timber:
        yield timber


class Command:
    """Creates one session each time it really runs."""

    def __init__(self, timber: Timber, user: str = "user-1") -> None:
        self.timber = timber
        self.user = user
        self.runs = 0

    async def __call__(self, uow: UnitOfWork) -> SessionDTO:
        self.runs += 1
        return await self.timber.sessions.create_session(self.user, "research")


async def sessions(url: str) -> int:
    async with connected(url) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM sessions"))


async def test_a_repeat_gets_the_first_result_as_the_same_type(timber: Timber, database_url: str):
    command = Command(timber)
    first = await timber.idempotent("key", command, result=SessionDTO)
    again = await timber.idempotent("key", command, result=SessionDTO)
    assert first == again
    assert type(again) is SessionDTO
    assert command.runs == 1
    other = await timber.idempotent("other key", command, result=SessionDTO)
    assert other.id != first.id
    assert await sessions(database_url) == 2


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, "text", True, [1, "a", None], {"a": {"b": [1.0, 2]}}]
)
async def test_plain_json_needs_no_type(timber: Timber, value: object):
    async def body(_: UnitOfWork) -> Any:
        return value

    for _ in range(2):
        found = await timber.idempotent("key", body)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, uuid4(), datetime.now(UTC), float("nan"), object()]
)
async def test_what_would_not_come_back_as_it_is_is_refused_and_nothing_is_kept(
    timber: Timber, database_url: str, value: object
):
    async def body(_: UnitOfWork) -> Any:
        await timber.sessions.create_session("user-1", "research")
        return value

    with pytest.raises(UsageError, match="result="):
        await timber.idempotent("key", body)
    assert await sessions(database_url) == 0


class Receipt(DTO):
    id: UUID
    at: datetime
    lines: tuple[int, ...]


async def test_results_of_ones_own_types(timber: Timber):
    receipt = Receipt(id=uuid4(), at=datetime.now(UTC), lines=(1, 2))

    async def body(_: UnitOfWork) -> Receipt:
        return receipt

    assert await timber.idempotent("a", body, result=Receipt) == receipt
    assert await timber.idempotent("a", body, result=Receipt) == receipt

    async def many(_: UnitOfWork) -> list[Receipt]:
        return [receipt]

    for _ in range(2):
        assert await timber.idempotent("b", many, result=list[Receipt]) == [receipt]

    async def wrong(_: UnitOfWork) -> Any:
        return "no receipt"

    with pytest.raises(UsageError, match="result="):
        await timber.idempotent("c", wrong, result=Receipt)


async def test_another_request_under_the_key_is_a_conflict(timber: Timber):
    command = Command(timber)
    await timber.idempotent("key", command, request={"a": 1, "b": [2]}, result=SessionDTO)
    await timber.idempotent("key", command, request={"b": [2], "a": 1}, result=SessionDTO)
    with pytest.raises(ConflictError, match="another one"):
        await timber.idempotent("key", command, request={"a": 1, "b": [3]}, result=SessionDTO)
    with pytest.raises(ConflictError):
        await timber.idempotent("key", command, result=SessionDTO)
    assert command.runs == 1


@pytest.mark.parametrize("isolation", [None, "repeatable read", "serializable"])
async def test_many_at_once_run_once(timber: Timber, database_url: str, isolation: Any):
    command = Command(timber)

    async def slowly(uow: UnitOfWork) -> SessionDTO:
        created = await command(uow)
        await asyncio.sleep(0.05)
        return created

    results = await asyncio.gather(
        *(
            timber.idempotent("key", slowly, result=SessionDTO, isolation=isolation)
            for _ in range(8)
        )
    )
    assert len({result.id for result in results}) == 1
    assert await sessions(database_url) == command.runs == 1


async def test_the_second_runs_when_the_first_fails(timber: Timber, database_url: str):
    command = Command(timber)
    entered = asyncio.Event()

    async def failing(uow: UnitOfWork) -> SessionDTO:
        await command(uow)
        entered.set()
        await asyncio.sleep(0.05)
        raise KeyError

    first = asyncio.create_task(timber.idempotent("key", failing, result=SessionDTO))
    await entered.wait()
    second = await timber.idempotent("key", command, result=SessionDTO)
    with pytest.raises(KeyError):
        await first
    assert second.user_id == "user-1"
    assert await sessions(database_url) == 1


async def test_the_second_waits_no_longer_than_its_deadline(timber: Timber):
    entered, over = asyncio.Event(), asyncio.Event()

    async def long(_: UnitOfWork) -> int:
        entered.set()
        await over.wait()
        return 1

    first = asyncio.create_task(timber.idempotent("key", long))
    await entered.wait()
    with pytest.raises(QueryTimeoutError):
        async with deadline(0.1):
            await timber.idempotent("key", long)
    over.set()
    assert await first == 1


async def test_it_is_repeated_like_run_and_happens_once(timber: Timber, database_url: str):
    command = Command(timber)

    async def losing(uow: UnitOfWork) -> SessionDTO:
        created = await command(uow)
        if command.runs < 3:
            await uow.session.connection()
            raise UnavailableError
        return created

    await timber.idempotent("key", losing, result=SessionDTO)
    assert command.runs == 3
    assert await sessions(database_url) == 1


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_a_connection_cut_anywhere_neither_doubles_nor_loses(
    database_url: str, clean_tables: None, direction: Direction
):
    async with (
        Proxy(database_url) as proxy,
        Timber(proxy.url, **QUICK, outage_attempts=5) as timber,
    ):
        command = Command(timber)
        await timber.idempotent("warm", command, result=SessionDTO)
        for cut in range(0, 2400, 160):
            proxy.cut_after(cut, direction, reset=bool(cut % 320))
            first = await timber.idempotent(str(cut), command, result=SessionDTO)
            proxy.heal()
            assert await timber.idempotent(str(cut), command, result=SessionDTO) == first
        assert await sessions(database_url) == 16


async def test_after_an_unknown_outcome_a_repeat_tells_what_was_stored(
    database_url: str, clean_tables: None
):
    """The server can be asked nothing for as long as anybody waits, and has committed."""
    async with (
        Proxy(database_url) as proxy,
        Timber(proxy.url, **QUICK, resolve_timeout=0.1, outage_attempts=1) as timber,
    ):
        command = Command(timber)

        async def cut(_: Any) -> None:
            timber.db.moments.before_commit.clear()
            await proxy.refuse()
            proxy.cut_after(0, "to_client")

        await timber.sessions.create_session("warm", "research")
        timber.db.moments.before_commit.append(cut)
        with pytest.raises(CommitOutcomeUnknownError):
            await timber.idempotent("key", command, result=SessionDTO)
        await proxy.accept()
        stored = await timber.idempotent("key", command, result=SessionDTO)
        assert command.runs == 1
        assert (await timber.sessions.get_session(stored.id)).id == stored.id


async def test_and_it_repeats_by_itself_where_there_is_time(database_url: str, clean_tables: None):
    async with (
        Proxy(database_url) as proxy,
        Timber(proxy.url, **QUICK, resolve_timeout=0.1, outage_attempts=100) as timber,
    ):
        command = Command(timber)

        async def cut(_: Any) -> None:
            timber.db.moments.before_commit.clear()
            await proxy.refuse()
            proxy.cut_after(0, "to_client")
            asyncio.get_running_loop().call_later(0.3, back.set)

        back = asyncio.Event()

        async def come_back() -> None:
            await back.wait()
            await proxy.accept()

        coming = asyncio.create_task(come_back())
        await timber.sessions.create_session("warm", "research")
        timber.db.moments.before_commit.append(cut)
        stored = await timber.idempotent("key", command, result=SessionDTO)
        await coming
        assert (stored.user_id, command.runs) == ("user-1", 1)


async def test_inside_a_unit_of_work_it_is_a_part_of_that(timber: Timber, database_url: str):
    command = Command(timber)
    with pytest.raises(KeyError):
        async with timber.unit_of_work():
            await timber.idempotent("key", command, result=SessionDTO)
            raise KeyError
    async with timber.unit_of_work():
        first = await timber.idempotent("key", command, result=SessionDTO)
        assert await timber.idempotent("key", command, result=SessionDTO) == first
    assert command.runs == 2
    assert await sessions(database_url) == 1
    with pytest.raises(UsageError, match="isolation"):
        async with timber.unit_of_work():
            await timber.idempotent("key", command, result=SessionDTO, isolation="serializable")


async def test_a_command_inside_of_itself_is_told_so(timber: Timber):
    async def outer(_: UnitOfWork) -> int:
        return await timber.idempotent("key", outer)

    with pytest.raises(UsageError, match="inside of itself"):
        await timber.idempotent("key", outer)


async def test_keys_expire_and_are_removed_in_batches(database_url: str, clean_tables: None):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    async with Timber(database_url, clock=lambda: now, idempotency_seconds=60) as timber:
        command = Command(timber)
        for number in range(5):
            await timber.idempotent(f"key {number}", command, result=SessionDTO)
        await timber.idempotent("long", command, result=SessionDTO, expires=timedelta(days=1))
        now += timedelta(seconds=59)
        assert await timber.purge_idempotency_keys() == 0
        await timber.idempotent("key 0", command, result=SessionDTO)
        assert command.runs == 6
        now += timedelta(seconds=2)
        await timber.idempotent("key 0", command, request="new", result=SessionDTO)
        assert command.runs == 7, "the old one is forgotten although it is still there"
        assert await timber.purge_idempotency_keys(limit=3) == 3
        assert await timber.purge_idempotency_keys() == 1
        await timber.idempotent("long", command, result=SessionDTO)
        assert command.runs == 7


async def test_a_process_that_runs_commands_removes_old_keys_by_itself(
    database_url: str, clean_tables: None
):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    async with Timber(database_url, clock=lambda: now, idempotency_seconds=60) as timber:
        commands: IdempotentCommands = timber._running.commands
        await timber.idempotent("old", Command(timber), result=SessionDTO)
        now += timedelta(hours=1)
        assert commands._purged_at is not None
        commands._purged_at -= 61
        await timber.idempotent("new", Command(timber), result=SessionDTO)
        await commands.close()
        assert await timber.purge_idempotency_keys() == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "nul\x00", 5])
async def test_keys_that_are_none(timber: Timber, key: Any):
    with pytest.raises(ValidationError, match="idempotency key"):
        await timber.idempotent(key, Command(timber), result=SessionDTO)


async def test_requests_that_cannot_be_told_apart_are_refused(timber: Timber):
    with pytest.raises(ValidationError, match="request"):
        await timber.idempotent("key", Command(timber), request=object(), result=SessionDTO)
    with pytest.raises(ValidationError, match="expires"):
        await timber.idempotent("key", Command(timber), expires=timedelta(0), result=SessionDTO)
