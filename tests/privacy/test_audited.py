"""Erasing where rows are audited: that it happened is kept, and nothing of whom it was about."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from tests.privacy.club import naming, run_sql
from timber import Timber
from timber.context import acting_as
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConfigurationError
from timber.features.audit import AuditKeys, Sealer
from timber.features.encryption import FileKeyRing
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy

REGISTRY = ModelRegistry(files=[Path(__file__).parent / "audited.yaml"])
KEY = "a-key-of-the-audit-for-nothing-but-tests"
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
def accounts_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"accounts_{worker_id}"))


@pytest.fixture
async def timber(accounts_url: str, tmp_path: Path) -> AsyncGenerator[Timber]:
    FileKeyRing(tmp_path / "keys.json").add()
    async with Timber(
        accounts_url,
        registry=REGISTRY,
        audit_key=KEY,
        audit_seal_every=None,
        encryption_keys=tmp_path / "keys.json",
        person_keys=tmp_path / "persons",
    ) as timber:
        yield timber
    await databases.clean_tables(accounts_url)


def repository(timber: Timber, model: str) -> Any:
    return timber.repository(model, timber.registry.read_dto(model))


async def fill(timber: Timber, person: str) -> tuple[Any, Any]:
    with acting_as(person):
        account = await repository(timber, "Account").insert({"user_id": person, "iban": "DE00"})
        contract = await repository(timber, "Contract").insert(
            {"user_id": person, "name": "Ada Lovelace", "secret": "engine"}
        )
    return account, contract


async def test_the_audit_keeps_that_it_happened_and_names_nobody(
    timber: Timber, accounts_url: str
) -> None:
    account, contract = await fill(timber, ADA)
    await fill(timber, BOB)
    await Sealer(timber.db, AuditKeys([KEY])).seal_all()
    with acting_as("the-officer"):
        report = await timber.privacy.delete_user_data(ADA)
    assert report
    assert report.done["timber_audit_actors"] == {"emptied": 1}
    await Sealer(timber.db, AuditKeys([KEY])).seal_all()
    assert (await timber.audit.verify()).ok
    assert await naming(accounts_url, ADA) == {}

    (entry,) = (await timber.audit.erasures()).items
    assert (entry.action, entry.row_key, entry.actor) == ("erase", str(report.id), "the-officer")
    assert (entry.fields, entry.digests) == ((), {})
    for model, key in (("Account", account.id), ("Contract", contract.id)):
        history = (await timber.audit.history(model, key)).items
        assert {each.actor for each in history} == {"the-officer", None}
        assert all(each.salt is None for each in history)
    assert (await timber.audit.actions(ADA)).items == []
    assert len((await timber.audit.actions(BOB)).items) == 2
    assert await timber.privacy.verify_deletion(ADA)


async def test_who_erases_themselves_is_not_named_either(timber: Timber, accounts_url: str) -> None:
    await fill(timber, ADA)
    with acting_as(ADA):
        assert await timber.privacy.delete_user_data(ADA)
    assert await naming(accounts_url, ADA) == {}
    (entry,) = (await timber.audit.erasures()).items
    assert (entry.actor, entry.pseudonym) == (None, None)


async def test_an_erasure_repeated_is_another_entry(timber: Timber) -> None:
    await fill(timber, ADA)
    first = await timber.privacy.delete_user_data(ADA)
    second = await timber.privacy.delete_user_data(ADA)
    found = [entry.row_key for entry in (await timber.audit.erasures()).items]
    assert found == [str(second.id), str(first.id)]


async def test_a_pseudonym_that_is_left_is_found(timber: Timber, accounts_url: str) -> None:
    await fill(timber, ADA)
    await timber.privacy.delete_user_data(ADA)
    assert await timber.privacy.verify_deletion(ADA)
    await run_sql(accounts_url, f"UPDATE timber_audit_actors SET actor = '{ADA}'")
    report = await timber.privacy.verify_deletion(ADA)
    assert [(left.place, left.count) for left in report.left] == [("timber_audit_actors", 1)]


async def test_a_key_that_was_destroyed_before_does_not_stop_the_erasure_of_audited_rows(
    timber: Timber,
) -> None:
    await fill(timber, ADA)
    provider: Any = timber._running.features.provider("encryption")
    await provider.persons.destroy(ADA)
    assert await timber.privacy.delete_user_data(ADA)
    assert await timber.privacy.verify_deletion(ADA)


async def test_without_the_audit_audited_rows_are_not_erased(
    timber: Timber, tmp_path: Path
) -> None:
    provider: Any = timber._running.features.provider("encryption")
    blind = Privacy(timber.db, timber.registry, keys=provider.persons)
    with pytest.raises(ConfigurationError, match="audit_key"):
        await blind.delete_user_data(ADA)
