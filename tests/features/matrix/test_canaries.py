"""However a path fails, nothing of a row, a key or a password is in what is logged or raised, and nothing that is encrypted
is anywhere in the database.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.database.test_no_secrets import everything_it_shows
from tests.features.matrix.conftest import AUDIT_SECRET, KEY, OpenScene
from tests.features.matrix.paths import CHANGING, READING, WRITING
from tests.features.matrix.scene import OLD, Scene
from timber.errors import ServiceError

SECRET, BODY = "canary-of-a-secret", "canary-of-a-body"
CANARIES = (
    *(SECRET, BODY, AUDIT_SECRET, "canary-of-an-embedder"),
    *(KEY.decode(), KEY.hex(), repr(KEY)[2:-1], b64encode(KEY).decode()),
)

PATHS: dict[str, Callable[[Scene], Awaitable[object]]] = {
    **WRITING,
    **{name: path for name, (path, _) in CHANGING.items()},
    **READING,
}
NEEDS_NO_DATABASE_ROW = {"Repository.subscribe"}
"""It waits for the database rather than fail."""


def found_in(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary in text]


@asynccontextmanager
async def a_locked_table(scene: Scene) -> AsyncGenerator[None]:
    """Nobody gets at the rows within the time that statements wait for locks."""
    async with scene.beside.transaction():
        await scene.beside.execute("LOCK TABLE dossiers IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def killed_connections(scene: Scene) -> AsyncGenerator[None]:
    """Whoever waits for the rows loses the connection."""

    async def kill() -> None:
        while True:
            await asyncio.sleep(0.02)
            await scene.beside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'"
            )

    async with a_locked_table(scene):
        killing = asyncio.create_task(kill())
        try:
            yield
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)


async def _fails(scene: Scene, path: str) -> str:
    scene.values = {"secret": SECRET, "level": 2, "body": BODY}
    with pytest.raises(ServiceError) as caught:
        await PATHS[path](scene)
    return everything_it_shows(caught.value)


@pytest.mark.parametrize("trouble", [a_locked_table, killed_connections])
@pytest.mark.timeout(120)
async def test_a_path_that_fails_in_the_database_shows_nothing(
    open_scene: OpenScene, trouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # Longer than it takes to be killed while one waits.
    lock_timeout = 0.02 if trouble is a_locked_table else 0.25
    settings = {"echo": True, "outage_attempts": 1, "outage_wait": 0.01}
    async with open_scene(lock_timeout=lock_timeout, **settings) as scene:
        for path in PATHS.keys() - NEEDS_NO_DATABASE_ROW:
            async with trouble(scene):
                assert not found_in(await _fails(scene, path)), path
        assert len(caplog.text) > 1000
        assert not found_in(caplog.text)


async def test_a_refused_row_shows_nothing(open_scene: OpenScene, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_scene(echo=True) as scene:
        taken = {"number": 2, "user_id": "u", "secret": SECRET, "body": BODY}
        refused = [
            lambda: scene.rows.insert(taken),
            lambda: scene.rows.insert_many([taken]),
            lambda: scene.rows.insert_many_returning([taken]),
            lambda: scene.rows.update(scene.keys[0], {**taken, "user_id": "u"}),
            lambda: scene.rows.update_where({"number": 2, "secret": SECRET}, number=1),
            lambda: scene.rows.upsert({**taken, "user_id": SECRET}, on="number"),
            lambda: scene.rows.insert({**taken, "level": SECRET}),
            lambda: scene.rows.insert({**taken, "level": 99}),
            lambda: scene.rows.insert({**taken, "secret": [SECRET]}),
            lambda: scene.rows.insert({**taken, "secret": SECRET * 9}),
            lambda: scene.rows.find(scene.rows.where.secret.like(f"{SECRET}%")),
            lambda: scene.rows.find(number=SECRET),
        ]
        for call in refused:
            with pytest.raises(ServiceError) as caught:
                await call()
            assert not found_in(everything_it_shows(caught.value))
    assert not found_in(caplog.text)


async def test_what_cannot_be_decrypted_shows_nothing(open_scene: OpenScene, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_scene(echo=True) as scene:
        await scene.embed()
        await scene.rows.update_where({"secret": SECRET}, user_id="u")
        await scene.beside.execute(
            "UPDATE dossiers SET secret = set_byte(secret, length(secret) - 1,"
            " (get_byte(secret, length(secret) - 1) + 1) % 256)"
        )
        for path in READING.keys() - NEEDS_NO_DATABASE_ROW:
            if "count" in path or "exists" in path:
                continue  # they read no value
            with pytest.raises(ServiceError) as caught:
                await READING[path](scene)
            assert not found_in(everything_it_shows(caught.value)), path
    assert not found_in(caplog.text)


class Gossip:
    """An embedder whose errors repeat the text that it was given."""

    name = "gossip"
    dimension = 16

    async def embed(self, texts):
        raise RuntimeError(f"canary-of-an-embedder cannot embed {texts}")


async def test_an_embedder_that_fails_shows_nothing(open_scene: OpenScene, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_scene(embedder=Gossip()) as scene:
        await scene.rows.update_where({"body": BODY}, user_id="u")
        await scene.embed()
        reasons = await scene.beside.fetch("SELECT reason FROM timber_dossiers_embedding")
        assert all(row["reason"] for row in reasons)
        assert not found_in(" ".join(row["reason"] for row in reasons))
    assert not found_in(caplog.text)


async def test_nothing_that_is_encrypted_is_in_any_table(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        scene.values = {"secret": SECRET, "level": 2, "body": "plain"}
        for path in WRITING.values():
            await path(scene)
            await scene.beside.execute("DELETE FROM dossiers WHERE number > 2")
        await scene.rows.insert(scene.new())
        await scene.embed()
        tables = await scene.beside.fetch(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for (table,) in tables:
            for row in await scene.beside.fetch(f"SELECT t::text AS text FROM {table} AS t"):
                assert not found_in(row["text"]), table
                for value in (SECRET, OLD["secret"]):
                    assert value.encode().hex() not in row["text"], table
