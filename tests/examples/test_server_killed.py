"""kill -9 of PostgreSQL under 200 requests a second: nothing but 503 problem documents, and the service recovers by itself."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.database.own_server import OwnServer
from tests.examples.conftest import EXAMPLES, make_tables
from tests.harness.serving import Client, Reply

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
    ),
]

RATE = 200  # requests a second
SECONDS = 15.0
KILLED_AT, RESTARTED_AT = 3.0, 5.0
PATIENCE = 60.0

COMMANDS = {
    "fastapi": "-m uvicorn --factory research_api.app:create_app --timeout-keep-alive 120 --port",
    "aiohttp": "-m aiohttp.web research_api.aiohttp_app:create_app -H 127.0.0.1 -P",
}


@pytest.fixture
def own_server() -> Generator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="timber-killed-") as folder:
        server = OwnServer(Path(folder) / "postgres")
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def running(framework: str, database_url: str) -> Generator[str]:
    """The example in a process of its own; the answer is its address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *COMMANDS[framework].split(), str(port)],
        cwd=EXAMPLES,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TIMBER_DATABASE_URL": database_url, "PYTHONPATH": str(EXAMPLES)},
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


async def until_ready(client: Client) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if (await client.get("/readyz")).status == 200:
                    return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def one_request(client: Client, number: int) -> Reply:
    """By turns a read, a write in a unit of work over two services, and a list."""
    turn = number % 3
    if turn == 0:
        return await client.get("/notifications/unread")
    if turn == 1:
        return await client.post("/analyses", {"symbol": "IBM", "question": "Will it hold?"})
    return await client.get("/analyses?limit=5")


async def load(client: Client, server: OwnServer) -> list[Reply]:
    began = time.monotonic()

    async def disturb() -> None:
        await asyncio.sleep(KILLED_AT)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(RESTARTED_AT - KILLED_AT)
        await asyncio.to_thread(server.restart)

    disturbing = asyncio.create_task(disturb())
    requests = []
    for number in range(int(RATE * SECONDS)):
        await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
        requests.append(asyncio.create_task(one_request(client, number)))
    await disturbing
    async with asyncio.timeout(PATIENCE):
        return list(await asyncio.gather(*requests))


@pytest.mark.parametrize("framework", ["fastapi", "aiohttp"])
async def test_an_outage_is_answered_with_503_and_over_when_it_is_over(
    own_server: OwnServer, framework: str, record_property: Callable[[str, object], None]
):
    await make_tables(own_server.url)
    connector = aiohttp.TCPConnector(limit=0)
    with running(framework, own_server.url) as address:
        async with aiohttp.ClientSession(connector=connector) as session:
            client = Client(session, address, "user-1")
            await until_ready(client)
            replies = await load(client, own_server)
            await until_ready(client)
            after = [await one_request(client, number) for number in range(30)]
    wrong = [reply for reply in replies if reply.status not in (200, 201)]
    kinds = Counter((reply.status, reply.headers["content-type"]) for reply in wrong)
    record_property(
        "counts", f"{len(replies)} requests, {len(wrong)} of them refused: {dict(kinds)}"
    )
    assert set(kinds) == {(503, "application/problem+json")}, (
        kinds,
        [r.body for r in wrong if r.status != 503][:3],
    )
    assert {reply.json["status"] for reply in wrong} == {503}
    assert len(replies) - len(wrong) > RATE  # before and after it there were answers
    assert {reply.status for reply in after} == {200, 201}
