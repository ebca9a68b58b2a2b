"""Copies of rows, in memory and in Redis, are ciphertext: who has lost the key cannot read them either."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from uuid import uuid4

import pytest

from tests.cache.servers import cache_server
from tests.features.encryption.models import FILE, account
from timber import KeyDestroyedError, KeyNotFoundError, Timber
from timber.cache.coherence.connecting import redis_client
from timber.features.encryption import EncryptionProvider, PersonKeyFolder
from timber.models.registry import ModelRegistry

CANARY = "canary-4711"


@pytest.fixture(scope="session")
def cache_url() -> Generator[str]:
    with cache_server() as url:
        yield url


@pytest.fixture
def process(vault_url, clean_vault, cache_url, keys, folder):
    """Makes what stands for a process: a Timber with a cache and keys of its own."""
    file = folder.parent / "models.yaml"
    text = FILE.read_text()
    for feature in ("per_person: true}", "searchable: [mail, balance]}"):
        text = text.replace(feature, feature + "\n      cache: {lists: [user_id]}")
    file.write_text(text)
    registry = ModelRegistry(files=[file])
    prefix = f"timber-test-{uuid4().hex[:12]}"

    def make() -> Timber:
        provider = EncryptionProvider(keys, PersonKeyFolder(folder), person_key_seconds=0.2)
        return Timber(
            vault_url,
            registry=registry,
            providers=[provider],
            cache_url=cache_url,
            cache_prefix=prefix,
        )

    make.prefix = prefix  # type: ignore[attr-defined]
    return make


def rows_of(timber, model="Diary"):
    return timber.repository(model, timber.registry.read_dto(model))


async def in_redis(url, prefix):
    client = redis_client(url)
    found = {}
    try:
        async for key in client.scan_iter(match=f"{prefix}*", count=500):
            if await client.type(key) == b"string":
                found[key] = await client.get(key)
    finally:
        await client.aclose()
    return found


async def test_what_is_cached_is_as_unreadable_as_the_table(process, cache_url):
    async with process() as timber:
        diaries, accounts = rows_of(timber), rows_of(timber, "Account")
        page = await diaries.insert({"user_id": "ann", "entry": CANARY, "mood": {"of": CANARY}})
        row = await accounts.insert(account(iban=CANARY, mail=CANARY))
        for _ in range(3):
            assert (await diaries.get(page.id)).entry == CANARY
            assert (await accounts.get(row.id)).iban == CANARY
            assert [d.entry for d in await diaries.find(user_id="ann")] == [CANARY]
            assert [a.iban for a in await accounts.find(user_id="ann", mail=CANARY)] == [CANARY]
        kept = await in_redis(cache_url, process.prefix)
        assert any(b"diar" in key.lower() for key in kept)
        assert CANARY.encode() not in repr(kept).encode()


async def test_no_cache_brings_back_what_a_destroyed_key_had_encrypted(process, folder, keys):
    async with process() as one, process() as other:
        page = await rows_of(one).insert({"user_id": "ann", "entry": CANARY})
        for timber in (one, other):
            for _ in range(2):
                assert (await rows_of(timber).get(page.id)).entry == CANARY
                assert len(await rows_of(timber).find(user_id="ann")) == 1
        elsewhere = EncryptionProvider(keys, PersonKeyFolder(folder))
        await elsewhere.persons.destroy("ann")
        elsewhere.persons.forget()
        await asyncio.sleep(0.25)
        for timber in (one, other):
            with pytest.raises(KeyDestroyedError):
                await rows_of(timber).get(page.id)
            with pytest.raises(KeyDestroyedError):
                await rows_of(timber).find(user_id="ann")
    async with process() as later:
        with pytest.raises(KeyDestroyedError):
            await rows_of(later).get(page.id)


async def test_copies_under_an_old_key_are_read_as_long_as_the_ring_has_it(process, keys):
    async with process() as timber:
        row = await rows_of(timber, "Account").insert(account(iban=CANARY))
        assert (await rows_of(timber, "Account").get(row.id)).iban == CANARY
        keys.add("two")
        assert (await rows_of(timber, "Account").get(row.id)).iban == CANARY
        keys.remove("one")
        with pytest.raises(KeyNotFoundError, match="'one'"):
            await rows_of(timber, "Account").get(row.id)
