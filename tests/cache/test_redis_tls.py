"""A Redis behind TLS is spoken to like any other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.cache.tables import MakeCache, Table, eventually
from tests.database.tls import make_certificate


@pytest.fixture
async def tls_url(cache_url: str, tmp_path: Path) -> AsyncGenerator[str]:
    """The cache server behind an end of TLS."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    upstream = make_url(cache_url)
    passing: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(65_536):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(upstream.host, upstream.port)
        create = asyncio.get_running_loop().create_task
        passing.update([create(copy(reader, back)), create(copy(there, writer))])

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        await asyncio.sleep(0)  # the sockets of the ends are closed in the next turn


async def test_both_levels_and_the_messages_work_through_it(
    make_cache: MakeCache, tls_url: str
) -> None:
    one, two = await make_cache(tls_url), await make_cache(tls_url)
    table = Table({"a": "x" * 200_000})
    assert await table.read(one) == await table.read(two) == table.value
    assert table.loads == 1
    await table.write(one, 2)
    await eventually(lambda: "Row:1" not in two.memory._slots)
    assert await table.read(two) == 2
    assert two.stats()["breaker_opened"] == 0
