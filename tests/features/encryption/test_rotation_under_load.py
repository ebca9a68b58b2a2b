"""Keys are changed while the application reads and writes: no call fails, and nothing is left under an old key."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.features.encryption.models import REGISTRY, account
from timber import Timber
from timber.features.encryption import (
    EncryptionProvider,
    FileKeyRing,
    KeySet,
    PersonKeyFolder,
)
from timber.features.encryption.reporting import PERSONS, key_usage
from timber.features.encryption.rotation import Rotation
from timber.repository import Repository


class Load:
    """Readers and writers of one process, who go on until they are stopped; an error of any of them is the test's."""

    def __init__(self, timber: Timber, ids: list[Any], stop: asyncio.Event) -> None:
        self.accounts = repository(timber, "Account")
        self.diaries = repository(timber, "Diary")
        self.ids = ids
        self.stop = stop
        self.read = self.written = 0

    async def write(self, number: int) -> None:
        luck = random.Random(number)
        while not self.stop.is_set():
            number += 10
            self.ids.append((await self.accounts.insert(account(number))).id)
            await self.accounts.update(luck.choice(self.ids), {"iban": f"iban-{number}"})
            more = {"details": {f"k{number}": 1}}
            await self.accounts.update(luck.choice(self.ids), more, merge="details")
            await self.diaries.insert({"user_id": f"u{number % 40}", "entry": "dear"})
            self.written += 4

    async def look(self, seed: int) -> None:
        luck = random.Random(seed)
        while not self.stop.is_set():
            found = await self.accounts.get(luck.choice(self.ids))
            assert found.mail == account(found.number)["mail"]
            assert found.details["number"] == found.number
            same = await self.accounts.find(mail=found.mail)
            assert [row.number for row in same] == [found.number]
            assert len(await self.accounts.find(limit=50)) == 50
            assert {row.entry for row in await self.diaries.find(limit=20)} == {"dear"}
            self.read += 4


def repository(timber: Timber, model: str) -> Repository[Any]:
    return timber.repository(model, timber.registry.read_dto(model))


@pytest.mark.parametrize(
    "seconds", [2.0, pytest.param(30.0, marks=[pytest.mark.slow, pytest.mark.timeout(240)])]
)
async def test_no_call_fails_and_nothing_is_left_under_an_old_key(
    vault_url, vault, tmp_path, seconds
):
    ring = FileKeyRing(tmp_path / "keys.json")
    ring.add()
    # Two processes, as it were: each has read the file by itself.
    here, there = (
        EncryptionProvider(FileKeyRing(ring.path), PersonKeyFolder(tmp_path / "persons"))
        for _ in range(2)
    )
    stop = asyncio.Event()
    async with (
        Timber(vault_url, registry=REGISTRY, providers=[here]) as one,
        Timber(vault_url, registry=REGISTRY, providers=[there]) as two,
    ):
        ids = await repository(one, "Account").insert_many([account(n) for n in range(300)])
        await repository(one, "Diary").insert_many(
            [{"user_id": f"u{n}", "entry": "dear"} for n in range(20)]
        )
        loads = [Load(one, ids, stop), Load(two, ids, stop)]
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(loads[number % 2].write(1000 + number))
                group.create_task(loads[number % 2].look(number))
            last = await rotate_for(seconds, ring, one, here)
            stop.set()
        usage = await key_usage(one.db, REGISTRY, here.persons.store)
        assert {use.key_id for use in usage} == {last, PERSONS}
        assert min(load.read for load in loads) > 20
        assert min(load.written for load in loads) > 10
        rows = sum(use.count for use in usage if use.column == "iban" and use.model == "Account")

    alone = KeySet(last, {last: ring.known().keys[last]})
    async with Timber(
        vault_url, registry=REGISTRY, providers=[with_one_key(alone, here)]
    ) as timber:
        async with repository(timber, "Account").stream() as found:
            assert len([row async for row in found]) == rows
        assert await repository(timber, "Diary").find(user_id="u3")


def with_one_key(keys: KeySet, provider: EncryptionProvider) -> EncryptionProvider:
    """What can be read with one key of the ring alone."""

    class Ring:
        def known(self) -> KeySet:
            return keys

        async def load(self) -> KeySet:
            return keys

    return EncryptionProvider(Ring(), provider.persons.store)


async def rotate_for(
    seconds: float, ring: FileKeyRing, timber: Timber, provider: EncryptionProvider
) -> str:
    """Rotate again and again, twice at least; the key that is the primary one at the end."""
    until = asyncio.get_running_loop().time() + seconds
    rounds = 0
    while rounds < 2 or asyncio.get_running_loop().time() < until:
        new = ring.add(primary=True)
        done = await Rotation(timber.db, REGISTRY, provider, batch=50, grace=0.2).run()
        assert (done.primary, done.complete) == (new, True), done
        rounds += 1
    return new
