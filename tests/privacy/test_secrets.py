"""Erasing where rows are encrypted, with persons' own keys too, and where vectors were made of their texts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from tests.privacy.club import naming, pictures, run_sql
from timber import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConfigurationError, KeyDestroyedError
from timber.features.background import BackgroundWork
from timber.features.encryption import EncryptionProvider, FileKeyRing
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy

REGISTRY = ModelRegistry(files=[Path(__file__).parent / "secrets.yaml"], built_in=True)
ADA, BOB = "user-ada", "user-bob"


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url, metadata=REGISTRY.metadata)
    try:
        await manager.create_all_tables()
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def secrets_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"secrets_{worker_id}"))


@pytest.fixture
async def timber(secrets_url: str, tmp_path: Path) -> AsyncGenerator[Timber]:
    FileKeyRing(tmp_path / "keys.json").add()
    async with Timber(
        secrets_url,
        registry=REGISTRY,
        encryption_keys=tmp_path / "keys.json",
        person_keys=tmp_path / "persons",
        embedder="hashing:16",
    ) as timber:
        yield timber
    await databases.clean_tables(secrets_url)


def repository(timber: Timber, model: str) -> Any:
    return timber.repository(model, timber.registry.read_dto(model))


def persons(timber: Timber) -> Any:
    provider = timber._running.features.provider("encryption")
    assert isinstance(provider, EncryptionProvider)
    return provider.persons


async def embed(timber: Timber) -> None:
    provider: Any = timber._running.features.provider("embedding")
    work: BackgroundWork
    for work in provider.background():
        while await work.step():
            pass


async def fill(timber: Timber, person: str) -> dict[str, Any]:
    made = {
        "Diary": {"entry": f"{person} was here", "mood": {"of": person}, "pages": 3},
        "Patient": {"name": f"{person} Lovelace", "ssn": "123-45"},
        "Note": {"text": f"{person} likes engines"},
        "Draft": {"text": f"{person} likes poems"},
    }
    return {
        model: await repository(timber, model).insert({"user_id": person, **values})
        for model, values in made.items()
    }


async def test_a_destroyed_key_leaves_rows_that_can_be_read_and_name_nobody(
    timber: Timber, secrets_url: str
) -> None:
    made = await fill(timber, ADA)
    bob = await fill(timber, BOB)
    report = await timber.privacy.delete_user_data(ADA)
    assert report
    assert report.key_destroyed
    assert report.done["Diary"] == {"anonymised": 1}
    assert await persons(timber).state(ADA) == "destroyed"
    diaries = {row.id: row for row in await repository(timber, "Diary").find()}
    erased = diaries[made["Diary"].id]
    assert (erased.entry, erased.mood, erased.pages) == (None, None, 3)
    assert erased.user_id.startswith("erased-")
    assert diaries[bob["Diary"].id] == bob["Diary"]
    assert await naming(secrets_url, ADA) == {}
    assert await timber.privacy.verify_deletion(ADA)
    assert await persons(timber).state(BOB) == "kept"
    with pytest.raises(KeyDestroyedError):
        await repository(timber, "Diary").insert({"user_id": ADA, "entry": "again"})


async def test_a_key_that_was_destroyed_before_does_not_stop_an_erasure(
    timber: Timber, secrets_url: str
) -> None:
    await fill(timber, ADA)
    await persons(timber).destroy(ADA)
    report = await timber.privacy.delete_user_data(ADA)
    assert report
    assert report.key_destroyed
    assert await naming(secrets_url, ADA) == {}
    assert await timber.privacy.verify_deletion(ADA)


async def test_encrypted_columns_are_emptied_with_what_they_are_found_by(timber: Timber) -> None:
    made = await fill(timber, ADA)
    patients = repository(timber, "Patient")
    assert len(await patients.find(ssn="123-45")) == 1
    await timber.privacy.delete_user_data(ADA)
    assert await patients.find(ssn="123-45") == []
    emptied = await patients.get(made["Patient"].id)
    assert (emptied.name, emptied.ssn) == ("", None)


async def test_vectors_go_at_once_and_new_ones_are_those_of_nothing(
    timber: Timber, secrets_url: str
) -> None:
    made = await fill(timber, ADA)
    await fill(timber, BOB)
    await embed(timber)
    counted = {name: rows for name, (rows, _) in (await pictures(secrets_url)).items()}
    assert (counted["timber_notes_chunks"], counted["timber_drafts_chunks"]) == (2, 2)
    await timber.privacy.delete_user_data(ADA)
    counted = {name: rows for name, (rows, _) in (await pictures(secrets_url)).items()}
    assert (counted["timber_notes_chunks"], counted["timber_drafts_chunks"]) == (1, 1)
    assert (counted["timber_notes_embedding"], counted["timber_drafts_embedding"]) == (2, 1)
    await embed(timber)
    assert (await repository(timber, "Note").get(made["Note"].id)).text == ""
    assert await timber.privacy.verify_deletion(ADA)


async def test_an_export_is_decrypted(timber: Timber) -> None:
    await fill(timber, ADA)
    lines = b"".join([line async for line in timber.privacy.export_user_data(ADA)])
    assert b"user-ada was here" in lines
    assert b'"mood":{"of":"user-ada"}' in lines
    assert b"ssn_blind" not in lines


async def test_vectors_without_their_row_are_found_as_nobody_knows_whose_they_were(
    timber: Timber, secrets_url: str
) -> None:
    await fill(timber, BOB)
    await embed(timber)
    assert await timber.privacy.verify_deletion(ADA)
    await run_sql(secrets_url, "SET session_replication_role = replica; DELETE FROM notes")
    report = await timber.privacy.verify_deletion(ADA)
    found = {left.place: left.count for left in report.left}
    assert found == {"timber_notes_chunks": 1, "timber_notes_embedding": 1}


async def test_vectors_of_the_persons_rows_are_found(timber: Timber) -> None:
    await fill(timber, ADA)
    await embed(timber)
    report = await timber.privacy.verify_deletion(ADA)
    assert {left.place for left in report.left} >= {"timber_notes_chunks", "timber_drafts_chunks"}


async def test_a_key_that_is_left_is_found(timber: Timber) -> None:
    await persons(timber).obtain([ADA])
    report = await timber.privacy.verify_deletion(ADA)
    assert [(left.place, left.count) for left in report.left] == [("key of the person", 1)]


async def test_without_the_keys_nothing_is_erased_and_nothing_is_certain(timber: Timber) -> None:
    await fill(timber, ADA)
    keyless = Privacy(timber.db, timber.registry)
    with pytest.raises(ConfigurationError, match="person_keys"):
        await keyless.delete_user_data(ADA)
    report = await keyless.verify_deletion(ADA)
    assert "key of the person" in {unseen.place for unseen in report.unseen}
