"""Keys are changed while the application reads and writes; nothing fails, and nothing is left under the old one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.features.encryption.models import FILE, account
from tests.harness.databases import connected
from timber import Timber
from timber.features.encryption import EncryptionProvider
from timber.features.encryption.reporting import DESTROYED, PERSONS, UNKNOWN, key_usage
from timber.features.encryption.rotation import Rotation
from timber.models.registry import ModelRegistry


@pytest.fixture
def rotation(vault, provider):
    def make(**options):
        return Rotation(
            vault.db, vault.registry, provider, **{"patience": 0.5, "grace": 0, **options}
        )

    return make


async def used(vault, model="Account"):
    found = await key_usage(vault.db, vault.registry)
    return {(use.column, use.key_id): use.count for use in found if use.model == model}


async def test_everything_is_under_the_new_key_and_the_old_one_can_go(
    vault, accounts, letters, keys, rotation
):
    made = await accounts.insert_many([account(n) for n in range(450)])
    await accounts.delete(made[0])
    await letters.insert({"code": "a", "body": "letter", "iban": None})
    before = await accounts.find(limit=1000, include_deleted=True, order_by="number")
    keys.add("two")
    assert await rotation().to_do() == 451
    told = []
    done = await rotation(batch=100).run(told.append)
    assert (done.primary, done.rows, done.complete) == ("two", 451, True)
    assert sum(told) == 451
    assert max(told) <= 100
    assert await used(vault) == {(c, "two"): 450 for c in ("iban", "mail", "details", "photo")}
    assert await used(vault, "Letter") == {("body", "two"): 1}
    keys.remove("one")
    # Rotation changes no version and no time.
    assert await accounts.find(limit=1000, include_deleted=True, order_by="number") == before
    assert [row.number for row in await accounts.find(mail="mail-7@example.org")] == [7]
    assert (await rotation().run()).rows == 0


async def test_values_of_both_keys_are_read_and_found_in_between(accounts, keys):
    await accounts.insert_many([account(n, mail="same") for n in range(3)])
    keys.add("two", primary=False)
    await accounts.insert(account(3, mail="same"))
    keys.primary, keys._made = "two", None
    await accounts.insert(account(4, mail="same"))
    await accounts.update_where({"iban": "new"}, number=0)
    assert await accounts.count(mail="same") == 5
    assert {row.iban for row in await accounts.find(mail="same")} >= {"new", account(4)["iban"]}


async def test_a_row_that_is_held_all_the_time_is_left_and_said(
    vault_url, vault, accounts, keys, rotation
):
    ids = await accounts.insert_many([account(n) for n in range(5)])
    keys.add("two")
    async with connected(vault_url) as other, other.transaction():
        await other.execute("SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE", ids[2])
        done = await rotation().run()
        assert (done.rows, done.left, done.complete) == (4, 1, False)
        assert (await accounts.get(ids[2])).number == 2
    again = await rotation().run()
    assert (again.rows, again.complete) == (1, True)


async def test_a_row_held_for_a_while_is_waited_for(vault_url, accounts, keys, rotation):
    ids = await accounts.insert_many([account(n) for n in range(5)])
    keys.add("two")
    async with connected(vault_url) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE", ids[2])
        running = asyncio.create_task(rotation(patience=20).run())
        await asyncio.sleep(0.4)
        assert not running.done()
        await transaction.commit()
        done = await running
    assert (done.rows, done.complete) == (5, True)


async def test_what_an_open_transaction_wrote_under_the_old_key_is_found(
    vault, accounts, keys, rotation
):
    await accounts.insert(account(1))
    written, finish = asyncio.Event(), asyncio.Event()

    async def slow():
        async with vault.unit_of_work():
            await accounts.insert(account(2))
            written.set()
            await finish.wait()

    task = asyncio.create_task(slow())
    await written.wait()
    keys.add("two")
    unsettled = await rotation().run()
    assert (unsettled.rows, unsettled.settled, unsettled.complete) == (1, False, False)
    running = asyncio.create_task(rotation(patience=20).run())
    await asyncio.sleep(0.3)
    finish.set()
    await task
    done = await running
    assert (done.rows, done.complete) == (1, True)


async def test_a_rotation_that_is_broken_off_goes_on_where_it_was(vault, accounts, keys, rotation):
    await accounts.insert_many([account(n) for n in range(200)])
    keys.add("two")
    seen = asyncio.Event()
    running = asyncio.create_task(rotation(batch=10).run(lambda _: seen.set()))
    await seen.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    left = await rotation().to_do()
    assert 0 < left < 200
    done = await rotation().run()
    assert (done.rows, done.complete) == (left, True)


async def test_what_cannot_be_read_is_left_as_it_is_and_counted_by_its_key(
    vault_url, vault, accounts, keys, rotation
):
    ids = await accounts.insert_many([account(n) for n in range(4)])
    async with connected(vault_url) as other:
        await other.execute("UPDATE accounts SET iban = 'plain' WHERE id = $1", ids[0])
        await other.execute("UPDATE accounts SET mail = iban WHERE id = $1", ids[1])
        before = await other.fetch("SELECT * FROM accounts WHERE id = ANY($1)", ids[:2])
        keys.add("two")
        done = await rotation().run()
        assert await other.fetch("SELECT * FROM accounts WHERE id = ANY($1)", ids[:2]) == before
    assert (done.rows, dict(done.failed), done.left, done.complete) == (
        2,
        {UNKNOWN: 1, "one": 1},
        0,
        False,
    )
    assert (await used(vault))["iban", UNKNOWN] == 1
    keys.remove("one")
    assert dict((await rotation().run()).failed) == {UNKNOWN: 1, "one": 1}


async def test_a_column_that_becomes_searchable_gets_its_digests(vault_url, accounts, rotation):
    await accounts.insert_many([account(n) for n in range(3)])
    async with connected(vault_url) as other:
        await other.execute("UPDATE accounts SET mail_blind = NULL")
    assert await accounts.count(mail="mail-1@example.org") == 0
    assert (await rotation().run()).rows == 3
    assert await accounts.count(mail="mail-1@example.org") == 1


async def test_keys_of_persons_are_wrapped_anew_and_destroyed_ones_stay_so(
    vault, diaries, keys, provider, rotation
):
    for user in ("ann", "bob", "cid"):
        await diaries.insert({"user_id": user, "entry": "dear"})
    await provider.persons.destroy("cid")
    keys.add("two")
    done = await rotation().run()
    assert (done.rows, done.persons, done.complete) == (0, 2, True)
    usage = await key_usage(vault.db, vault.registry, provider.persons.store)
    assert {(u.key_id, u.count) for u in usage if u.model is None} == {("two", 2), (DESTROYED, 1)}
    keys.remove("one")
    provider.persons.forget()
    assert [d.entry for d in await diaries.find(user_id="ann")] == ["dear"]


async def test_a_model_that_gets_keys_of_persons_is_encrypted_anew_with_them(
    vault, diaries, provider, rotation, tmp_path
):
    earlier = tmp_path / "models.yaml"
    earlier.write_text(FILE.read_text().replace(", per_person: true", ""))
    registry = ModelRegistry(files=[earlier])
    before = EncryptionProvider(provider.key_ring)
    async with Timber(vault.settings.database_url, registry=registry, providers=[before]) as timber:
        old = timber.repository("Diary", timber.registry.read_dto("Diary"))
        await old.insert_many([{"user_id": f"u{n % 3}", "entry": f"{n}"} for n in range(30)])
    assert {d.entry for d in await diaries.find()} == {f"{n}" for n in range(30)}
    await provider.persons.destroy("u0")
    done = await rotation().run()
    assert (done.rows, dict(done.failed)) == (20, {"none": 10})
    assert {(c, k) for c, k in await used(vault, "Diary")} == {("entry", "one"), ("entry", PERSONS)}
