"""A data key for each person: made with their first value, shared by processes, and gone for good when it is destroyed."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.features.encryption.models import REGISTRY, Keys, feature, read, some_id, stored
from tests.harness import databases
from timber import ConfigurationError, KeyDestroyedError, KeyNotFoundError, Timber
from timber.database.statements import Statement
from timber.errors import DecryptionError
from timber.features.encryption import EncryptionProvider, PersonKeyDatabase, PersonKeyFolder
from timber.features.encryption.envelopes import key_id_of
from timber.features.feature import Write

CANARY = "canary-4711"


def page(user="ann", **more):
    return {"user_id": user, "page": 1, "entry": CANARY, "mood": {"of": CANARY}, **more}


def key_of(row):
    return key_id_of(row["entry"])


@pytest.fixture(params=["folder", "database"])
async def store(request, folder, bare_database_url):
    made = (
        PersonKeyFolder(folder)
        if request.param == "folder"
        else PersonKeyDatabase(bare_database_url)
    )
    yield made
    await made.close()


def provider_of(store, *ids, seconds=60.0):
    return EncryptionProvider(Keys(*ids), store, person_key_seconds=seconds)


async def test_each_person_has_a_key_and_every_process_the_same(store):
    here, there = (feature("Diary", provider_of(store)) for _ in range(2))
    ann, bob, more = await stored(here, [page("ann"), page("bob"), page("ann")])
    assert key_of(ann) == key_of(more) != key_of(bob)
    back = await read(there, ann, bob, more)
    assert [row["entry"] for row in back] == [CANARY] * 3
    (another,) = await stored(there, [page("ann")])
    assert key_of(another) == key_of(ann)


async def test_keys_made_at_once_are_one(store):
    features = [feature("Diary", provider_of(store)) for _ in range(8)]
    rows = await asyncio.gather(*(stored(each, [page("ann")]) for each in features))
    assert len({key_of(row) for (row,) in rows}) == 1


async def test_a_value_given_to_another_person_is_refused(store):
    diaries = feature("Diary", provider_of(store))
    ann, bob = await stored(diaries, [page("ann"), page("bob")])
    with pytest.raises(DecryptionError, match="another one than that of the person"):
        await read(diaries, {**ann, "user_id": "bob"})
    with pytest.raises(DecryptionError):
        await read(diaries, {**bob, "entry": ann["entry"]})
    with pytest.raises(DecryptionError):
        await read(diaries, {**ann, "id": some_id(1)})
    with pytest.raises(DecryptionError):
        await read(feature("Medicine", provider_of(store)), ann)
    with pytest.raises(KeyNotFoundError, match=r"p-[0-9a-f]{24}"):
        await read(diaries, {**ann, "user_id": "nobody"})


async def test_what_was_destroyed_cannot_be_read_or_written_and_says_so(store):
    provider = provider_of(store)
    diaries = feature("Diary", provider)
    ann, bob = await stored(diaries, [page("ann"), page("bob")])
    assert await provider.persons.state("ann") == "kept"
    assert await provider.persons.destroy("ann") == "kept"
    assert await provider.persons.destroy("ann") == "destroyed"
    assert await provider.persons.state("ann") == "destroyed"
    key_id = key_of(ann)
    with pytest.raises(KeyDestroyedError, match=f"{key_id} .* was destroyed") as caught:
        await read(diaries, ann)
    assert caught.value.key_id == key_id
    with pytest.raises(KeyDestroyedError):
        await stored(diaries, [page("ann")])
    with pytest.raises(KeyDestroyedError):
        await stored(feature("Diary", provider_of(store)), [page("ann")])
    assert (await read(diaries, bob))[0]["entry"] == CANARY
    # What has no value needs no key.
    assert await read(diaries, {**ann, "entry": None, "mood": None})


async def test_no_key_is_made_for_a_person_who_was_erased_before_their_first_value(store):
    provider = provider_of(store)
    assert await provider.persons.state("eve") == "none"
    assert await provider.persons.destroy("eve") == "none"
    with pytest.raises(KeyDestroyedError):
        await stored(feature("Diary", provider), [page("eve")])


async def test_writes_that_race_a_destruction_never_bring_a_key_back(store):
    for round_ in range(5):
        person = f"person-{round_}"
        providers = [provider_of(store, seconds=0) for _ in range(6)]
        writes = [stored(feature("Diary", each), [page(person)]) for each in providers[1:]]
        await asyncio.gather(*writes, providers[0].persons.destroy(person), return_exceptions=True)
        assert await providers[0].persons.state(person) == "destroyed"
        for each in providers:
            with pytest.raises(KeyDestroyedError):
                await stored(feature("Diary", each), [page(person)])


async def test_rewrapping_does_not_bring_a_destroyed_key_back(store):
    provider = provider_of(store)
    await stored(feature("Diary", provider), [page("ann")])
    ((name, record),) = [each async for each in store.records()]
    provider.key_ring.add("two")
    await provider.persons.destroy("ann")
    assert not await provider.persons.rewrap(name, record)
    assert await provider.persons.state("ann") == "destroyed"


async def test_an_unwrapped_key_is_forgotten_after_its_time_even_if_nobody_asks(store):
    provider = provider_of(store, seconds=0.1)
    diaries = feature("Diary", provider)
    (ann,) = await stored(diaries, [page("ann")])
    await provider_of(store).persons.destroy("ann")  # another process
    assert (await read(diaries, ann))[0]["entry"] == CANARY
    await asyncio.sleep(0.2)
    assert not provider.persons._unwrapped
    with pytest.raises(KeyDestroyedError):
        await read(diaries, ann)


async def test_there_are_never_more_unwrapped_keys_than_the_limit(store):
    from timber.features.encryption.persons import PersonKeys

    provider = provider_of(store)
    persons = PersonKeys(store, provider.keys, 60, limit=5)
    found = await persons.obtain([f"person-{n}" for n in range(12)])
    assert len(found) == 12
    assert len(persons._unwrapped) == 5
    persons.forget()


async def test_a_wrapped_key_is_good_for_its_person_and_master_key_only(store):
    provider = provider_of(store, "one", seconds=0)
    diaries = feature("Diary", provider)
    ann, _ = await stored(diaries, [page("ann"), page("bob")])
    with pytest.raises(KeyNotFoundError, match=r"data key needs .*'one'"):
        await read(feature("Diary", provider_of(store, "two")), ann)
    wrong = provider_of(store, "one")
    wrong.key_ring.replace("one", b"x" * 32)
    with pytest.raises(DecryptionError, match="cannot be unwrapped with the master key 'one'"):
        await read(feature("Diary", wrong), ann)
    records = dict([each async for each in store.records()])
    (first, one), (second, two) = records.items()
    await store.rewrap(first, one, two)
    await store.rewrap(second, two, one)
    with pytest.raises(DecryptionError, match="unwrapped"):
        await read(diaries, ann)


async def test_a_row_given_to_another_person_is_encrypted_for_them(diaries, provider):
    made = await diaries.insert(page("ann", secret=b"s"))
    moved = await diaries.update(made.id, {"user_id": "bob"})
    assert (moved.entry, moved.mood, moved.secret) == (CANARY, {"of": CANARY}, b"s")
    await diaries.insert_many([page("ann", page=n) for n in range(5)])
    assert await diaries.update_where({"user_id": "bob", "entry": "new"}, user_id="ann") == 5
    await provider.persons.destroy("ann")
    assert {row.entry for row in await diaries.find(user_id="bob")} == {CANARY, "new"}


async def test_updates_and_merges_use_the_key_of_the_row(diaries, medicines):
    made = await diaries.insert(page("ann", entry=None))
    changed = await diaries.update(made.id, {"entry": "b", "mood": {"n": 1}}, merge="mood")
    assert (changed.entry, changed.mood) == ("b", {"of": CANARY, "n": 1})
    await diaries.insert_many([page("bob", page=2), page("cid", page=2)])
    assert await diaries.update_where({"entry": "same"}, page=2) == 2
    assert {row.entry for row in await diaries.find(page=2)} == {"same"}
    again = await diaries.upsert({**page("ann"), "id": made.id, "entry": "c"})
    assert (again.id, again.entry) == (made.id, "c")
    await medicines.insert({"user_id": "ann", "entry": CANARY})
    assert (await medicines.find(user_id="ann"))[0].entry == CANARY


async def test_a_row_by_hand_needs_no_person_where_nothing_is_encrypted(provider):
    diaries = feature("Diary", provider)
    assert diaries.needs_current(["page"], ()) == ()
    await diaries.before_update(Write("update", [{"page": 2}], [uuid4()]))


async def test_the_database_of_the_rows_is_refused_as_a_place_for_keys(vault_url, keys):
    same = PersonKeyDatabase(vault_url)
    with pytest.raises(ConfigurationError, match="is the database that holds the rows"):
        async with Timber(vault_url, registry=REGISTRY, providers=[EncryptionProvider(keys, same)]):
            pass
    async with databases.connected(vault_url) as connection:
        assert await connection.fetchval("SELECT to_regclass('timber_person_keys')") is None


async def test_what_is_kept_of_a_person_is_not_their_id(store, vault, diaries, provider, folder):
    diary = feature("Diary", provider_of(store))
    await stored(diary, [page("ann-unlikely-name")])
    kept = [repr(each) async for each in store.records()]
    assert "unlikely" not in repr(kept)
    assert "wrapped" not in kept[0]
    await diaries.insert(page("ann-unlikely-name"))
    for file in folder.rglob("*"):
        assert "unlikely" not in str(file)
        assert file.is_dir() or b"unlikely" not in file.read_bytes()
    assert await vault.db.fetch(Statement("SELECT count(*) FROM diaries", label="count"))
