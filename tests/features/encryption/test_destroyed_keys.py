"""Once a person's key is destroyed, nothing of theirs can be had from tables, memory or dumps, whatever else one holds."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from sqlalchemy import make_url

from tests.features.encryption.models import REGISTRY
from timber import KeyDestroyedError, Timber
from timber.database.embedded_cluster import find_binaries
from timber.database.statements import Statement
from timber.features.encryption import EncryptionProvider, PersonKeyFolder
from timber.features.encryption.cipher import Cipher, WrongKeyError, derived
from timber.features.encryption.envelopes import ID_AT, NONCE, context

CANARY = "canary-4711"


def run(program, url, *arguments, text=None):
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = [str(find_binaries() / program), *arguments, f"--dbname={dsn}"]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=50, check=True
    )
    return done.stdout


def opened(row, name, cipher):
    envelope = row[name]
    begin = ID_AT + envelope[3]
    end = begin + NONCE
    where = envelope[:begin] + context("diaries", name) + row["id"].bytes
    return cipher.decrypt(envelope[begin:end], envelope[end:], where)


async def envelopes(timber):
    rows = await timber.db.fetch(Statement("SELECT * FROM diaries", label="look"))
    return {row["user_id"]: row for row in rows}


async def test_nothing_is_left_in_tables_memory_or_earlier_dumps(
    vault, diaries, provider, bare_database_url
):
    keys, folder = provider.key_ring, provider.persons.store.path
    for user in ("ann", "bob"):
        await diaries.insert({"user_id": user, "entry": CANARY, "mood": {"of": CANARY}})
    dump = await asyncio.to_thread(run, "pg_dump", vault.settings.database_url)
    assert CANARY not in dump
    assert CANARY.encode().hex() not in dump
    records = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert await provider.persons.destroy("ann") == "kept"
    assert (await diaries.find_one(user_id="bob")).entry == CANARY

    # Another process may still have it in memory for the short time, and no longer.
    await asyncio.sleep(0.35)
    assert not provider.persons._unwrapped
    with pytest.raises(KeyDestroyedError):
        await diaries.find(user_id="ann")

    # Whoever has every master key, the store of persons as it is now, and the dump from before.
    await asyncio.to_thread(run, "psql", bare_database_url, "--quiet", text=dump)
    restored = EncryptionProvider(keys, PersonKeyFolder(folder))
    async with Timber(bare_database_url, registry=REGISTRY, providers=[restored]) as timber:
        again = timber.repository("Diary", timber.registry.read_dto("Diary"))
        assert (await again.find_one(user_id="bob")).entry == CANARY
        with pytest.raises(KeyDestroyedError):
            await again.find_one(user_id="ann")
        found = await envelopes(timber)
        assert found == await envelopes(vault)

    left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    gone = [content for content in records.values() if content not in left]
    assert len(gone) == 1
    masters = keys.keys.values()
    tried = [*masters, *(derived(key, b"timber person keys 1") for key in masters)]
    ciphers = [Cipher(key) for key in tried]
    ciphers.append((await provider.persons.find(["bob"]))["bob"].cipher)
    for name in ("entry", "mood"):
        for cipher in ciphers:
            with pytest.raises(WrongKeyError):
                opened(found["ann"], name, cipher)
        assert CANARY.encode() in opened(found["bob"], name, ciphers[-1])


async def test_the_bytes_of_a_destroyed_record_are_overwritten_on_the_disk(
    diaries, provider, folder
):
    await diaries.insert({"user_id": "ann", "entry": CANARY})
    (path,) = folder.rglob("*.json")
    with path.open("rb") as old:
        before = old.read()
        await provider.persons.destroy("ann")
        old.seek(0)
        assert set(old.read()) == {0}
    assert len(before) > 100
    assert b'"wrapped": null' in path.read_bytes()


async def test_what_a_killed_process_left_half_written_goes_too(diaries, provider, folder):
    await diaries.insert({"user_id": "ann", "entry": CANARY})
    (path,) = folder.rglob("*.json")
    half = path.with_name(f".{path.name}.0123")
    half.write_bytes(path.read_bytes())
    await provider.persons.destroy("ann")
    assert not half.exists()
