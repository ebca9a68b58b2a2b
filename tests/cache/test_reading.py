"""Reading through both levels on a real server: hits, clears, gathered reads, single flight."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.cache.tables import MakeCache, Table, eventually, rows
from timber.cache.coherence.line import Line
from timber.cache.keys import Keyspace


async def test_a_second_process_reads_from_redis(make_cache: MakeCache) -> None:
    one, two = await make_cache(), await make_cache()
    table = Table({"a": [1]})
    assert await table.read(one) == await table.read(two) == {"a": [1]}
    assert await table.read(two) == {"a": [1]}
    assert table.loads == 1
    stats = two.stats()
    assert (stats["l1"]["Row"]["hits"], stats["l2"]["Row"]["hits"]) == (1, 1)


async def test_that_there_is_nothing_is_kept_too(make_cache: MakeCache) -> None:
    cache = await make_cache()
    table = Table(None)
    assert await table.read(cache) is None
    cache.memory.wipe()
    assert await table.read(cache) is None
    assert table.loads == 1


async def test_a_write_is_seen_by_itself_at_once_and_by_others_after_a_message(
    make_cache: MakeCache,
) -> None:
    one, two = await make_cache(), await make_cache()
    table = Table(1)
    assert await table.read(one) == await table.read(two) == 1
    await table.write(one, 2)
    assert await table.read(one) == 2
    await eventually(lambda: "Row:1" not in two.memory._slots)
    assert await table.read(two) == 2


async def test_a_list_is_dropped_with_its_tag_and_everything_with_its_model(
    make_cache: MakeCache,
) -> None:
    one, two = await make_cache(), await make_cache()
    table = Table([1])
    for names, tags in [((), ["user_rows:ann"]), ((), ())]:
        await table.read(one, "Row?list", tags=["user_rows:ann"])
        await table.read(two, "Row?list", tags=["user_rows:ann"])
        loads = table.loads
        await two.invalidate("Row", ids=names, tags=tags)
        await table.read(two, "Row?list", tags=["user_rows:ann"])
        assert table.loads == loads + 1
    await two.invalidate("Row", tags=["user_rows:bob"])
    await table.read(two, "Row?list", tags=["user_rows:ann"])
    assert table.loads == loads + 1


def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is sent from here on, one item for each time that an answer is waited for."""
    sent: list[Any] = []
    original = Line.ask_all

    async def ask_all(self: Line, commands: Any, **options: Any) -> Any:
        sent.append(commands)
        return await original(self, commands, **options)

    monkeypatch.setattr(Line, "ask_all", ask_all)
    return sent


async def test_the_reads_of_one_tick_are_one_mget(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await make_cache()
    table = Table()
    for n in range(50):
        await table.read(cache, f"Row:{n}")
    cache.memory.wipe()
    sent = round_trips(monkeypatch)
    await asyncio.gather(*[table.read(cache, f"Row:{n}") for n in range(50)])
    assert [command[0][0] for command in sent if command[0][0] != "INFO"] == ["MGET"]
    assert table.loads == 50


async def test_a_leader_of_a_gathered_read_who_is_cancelled_takes_nobody_with_it(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    table = Table()
    tasks = [asyncio.create_task(table.read(cache, f"Row:{n}")) for n in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 4


async def test_a_clear_is_one_round_trip_however_many_keys(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await make_cache()
    await cache.invalidate("Row", ids=[0])  # the scripts are there from here on
    sent = round_trips(monkeypatch)
    await cache.invalidate("Row", ids=range(3000), tags=["a", "b"])
    assert [len(commands) for commands in sent if commands[0][0] != "INFO"] == [1]


async def test_many_are_read_in_one_round_trip(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await make_cache()
    names = [f"Row:{n}" for n in range(100)]
    asked: list[int] = []

    async def load(missing: Any) -> dict[str, Any]:
        asked.append(len(missing))
        return {name: name for name in missing if name != "Row:7"}

    kind = rows(cache)
    first = await cache.read_many(kind, names, load)
    cache.memory.wipe()
    sent = round_trips(monkeypatch)
    again = await cache.read_many(kind, names, load)
    assert first == again
    assert kind.codec.thaw(again["Row:7"]) is None
    assert asked == [100]
    assert [command[0][0] for command in sent if command[0][0] != "INFO"] == ["MGET"]


async def test_two_overlapping_reads_of_many_do_not_wait_for_one_another(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    kind = rows(cache)

    async def load(missing: Any) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return dict.fromkeys(missing, 1)

    async with asyncio.timeout(2):
        await asyncio.gather(
            cache.read_many(kind, ["Row:1", "Row:2"], load),
            cache.read_many(kind, ["Row:3", "Row:2", "Row:1"], load),
            cache.read_many(kind, ["Row:2", "Row:3"], load),
        )


@pytest.mark.parametrize("damage", [b"", b"V", b"V" + b"x" * 200, b"\x80\x04N.", b"{}"])
async def test_a_damaged_entry_is_a_miss_and_is_mended(
    make_cache: MakeCache, client: Redis, prefix: str, damage: bytes
) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    key = Keyspace(prefix).entry("Row:1")
    await client.set(key, damage)
    cache.memory.wipe()
    assert await table.read(cache) == 1
    cache.memory.wipe()
    assert await table.read(cache) == 1
    assert table.loads == 2


async def test_a_truncated_payload_is_a_miss_and_is_counted(
    make_cache: MakeCache, client: Redis, prefix: str
) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    key = Keyspace(prefix).entry("Row:1")
    whole = await client.get(key)
    await client.set(key, whole[:-1])
    cache.memory.wipe()
    assert await table.read(cache) == 1
    assert cache.stats()["l2"]["Row"]["corrupted"] == 1


async def test_a_thousand_waiters_of_four_processes_cause_one_load(make_cache: MakeCache) -> None:
    caches = [await make_cache() for _ in range(4)]
    table = Table()
    table.may_go.clear()
    tasks = [asyncio.create_task(table.read(caches[n % 4])) for n in range(1000)]
    await asyncio.sleep(0.1)
    table.may_go.set()
    assert set(await asyncio.gather(*tasks)) == {1}
    assert table.loads == 1


async def test_a_cancelled_leader_hands_over(make_cache: MakeCache) -> None:
    cache = await make_cache()
    table = Table()
    table.may_go.clear()
    tasks = [asyncio.create_task(table.read(cache)) for _ in range(10)]
    await eventually(lambda: table.loads == 1)
    tasks[0].cancel()
    await eventually(lambda: table.loads == 2)
    table.may_go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 9
    assert table.loads == 2


async def test_an_error_of_the_leader_is_its_own(make_cache: MakeCache) -> None:
    cache = await make_cache()
    kind = rows(cache)
    calls = 0

    async def load() -> int:
        nonlocal calls
        calls += 1
        first = calls == 1
        await asyncio.sleep(0.05)
        if first:
            raise RuntimeError("the database is gone")
        return 1

    results = await asyncio.gather(
        *[cache.read(kind, "Row:1", load) for _ in range(3)], return_exceptions=True
    )
    assert isinstance(results[0], RuntimeError)
    assert results[1:] == [b"1", b"1"]
