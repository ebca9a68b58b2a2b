from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.harness.databases import connected
from tests.harness.proxy import Proxy

QUERY = "SELECT repeat('x', 1000)"


@pytest.fixture
async def proxy(database_url: str) -> AsyncGenerator[Proxy]:
    async with Proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
def received() -> bytearray:
    return bytearray()


@pytest.fixture
async def echo(received: bytearray) -> AsyncGenerator[Proxy]:
    """A proxy in front of a server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            received.extend(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Proxy(f"postgresql://127.0.0.1:{port}/x") as proxy:
        yield proxy
    server.close()


async def dial(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = make_url(proxy.url)
    return await asyncio.open_connection(url.host, url.port)


async def test_queries_pass_and_are_counted(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        before = proxy.passed["to_client"]
        assert len(await connection.fetchval(QUERY)) == 1000
        assert 1000 < proxy.passed["to_client"] - before < 1500
        assert proxy.open_connections == 1
    assert proxy.accepted == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 10])
async def test_exactly_so_many_bytes_reach_the_server(
    echo: Proxy, received: bytearray, count: int, reset: bool
) -> None:
    reader, writer = await dial(echo)
    echo.cut_after(count, "to_server", reset=reset)
    writer.write(b"0123456789")
    try:
        await reader.read(-1)
    except ConnectionResetError:
        assert reset
    await asyncio.sleep(0.05)
    assert received == b"0123456789"[:count]
    writer.close()


@pytest.mark.parametrize("count", [0, 1, 7, 10])
async def test_exactly_so_many_bytes_reach_the_client(
    echo: Proxy, received: bytearray, count: int
) -> None:
    reader, writer = await dial(echo)
    echo.cut_after(count, "to_client")
    writer.write(b"0123456789")
    assert await reader.read(-1) == b"0123456789"[:count]
    assert received == b"0123456789"
    writer.close()


async def test_bytes_are_counted_over_all_connections_and_the_trap_springs_once(
    echo: Proxy,
) -> None:
    echo.cut_after(15, "to_server")
    first, second, third = [await dial(echo) for _ in range(3)]
    for reader, writer in (first, second):
        writer.write(b"0123456789")
        await reader.read(5)
    assert await second[0].read(-1) == b""
    first[1].write(b"more")
    assert (await first[0].readexactly(9)).endswith(b"more")
    third[1].write(b"0123456789")
    assert await third[0].readexactly(10) == b"0123456789"
    for _, writer in (first, second, third):
        writer.close()


async def test_bytes_are_counted_for_each_connection_until_healed(
    echo: Proxy, received: bytearray
) -> None:
    echo.cut_after(4, "to_server", each_connection=True)
    for _ in range(2):
        reader, writer = await dial(echo)
        writer.write(b"0123456789")
        await reader.read(-1)
        writer.close()
    await asyncio.sleep(0.05)
    assert received == b"01230123"
    echo.heal()
    reader, writer = await dial(echo)
    writer.write(b"0123456789")
    assert await reader.readexactly(10) == b"0123456789"
    writer.close()


async def test_a_cut_query_fails_and_the_next_connection_works(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await connection.fetchval("SELECT 1")
        proxy.cut_after(500, "to_client")
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await connection.fetchval(QUERY)
    async with connected(proxy.url) as connection:
        assert await connection.fetchval("SELECT 2") == 2


async def test_a_frozen_connection_is_silent_and_loses_nothing(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await connection.fetchval("SELECT 1")
        proxy.freeze()
        query = asyncio.create_task(connection.fetchval(QUERY))
        await asyncio.sleep(0.1)
        assert not query.done()
        proxy.heal()
        assert len(await query) == 1000


async def test_an_answer_freezes_at_a_byte(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await connection.fetchval("SELECT 1")
        before = proxy.passed["to_client"]
        proxy.freeze_after(500, "to_client")
        query = asyncio.create_task(connection.fetchval(QUERY))
        await asyncio.sleep(0.1)
        assert not query.done()
        assert proxy.passed["to_client"] - before == 500
        proxy.heal()
        assert len(await query) == 1000


async def test_a_delay_holds_each_answer(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await connection.fetchval("SELECT 1")
        proxy.delay(0.05)
        began = asyncio.get_running_loop().time()
        await connection.execute("SELECT 1")
        assert asyncio.get_running_loop().time() - began >= 0.1
        proxy.heal()


async def test_new_connections_are_refused_while_old_ones_go_on(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await dial(proxy)
        assert await connection.fetchval("SELECT 1") == 1
        await proxy.accept()
        async with connected(proxy.url) as another:
            assert await another.fetchval("SELECT 2") == 2


async def test_all_connections_are_cut_at_once(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        proxy.cut_all()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await connection.fetchval("SELECT 1")


async def test_a_server_that_is_away_ends_the_connection() -> None:
    async with Proxy("postgresql:///x?host=/nowhere") as proxy:
        reader, writer = await dial(proxy)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("count", [1, 7])
async def test_a_message_is_split_at_a_byte_and_arrives_whole(echo: Proxy, count: int) -> None:
    reader, writer = await dial(echo)
    echo.split_after(count, "to_client")
    writer.write(b"0123456789")
    assert await reader.read(100) == b"0123456789"[:count]
    assert await reader.read(100) == b"0123456789"[count:]
    writer.write(b"again")
    assert await reader.read(100) == b"again", "once"
    writer.close()
