"""What the audit can be asked."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.features.audit.conftest import KEY, REGISTRY, account, rows_of
from timber import Timber
from timber.context import acting_as
from timber.database.statements import Statement
from timber.errors import ConfigurationError, UsageError, ValidationError
from timber.features.audit import actors as pseudonyms


async def test_a_history_is_read_in_pages_both_ways(accounts, log):
    key = (await accounts.insert(account(0))).id
    for number in range(1, 10):
        await accounts.update(key, {"balance": number})
    whole = [entry.id for entry in (await log.history("Account", str(key))).items]
    assert len(whole) == 10
    assert whole == sorted(whole, reverse=True)
    first = await log.history("Account", key, limit=4)
    second = await log.history("Account", key, limit=4, cursor=first.next_cursor)
    third = await log.history("Account", key, limit=4, cursor=second.next_cursor)
    pages = [[entry.id for entry in page.items] for page in (first, second, third)]
    assert pages == [whole[:4], whole[4:8], whole[8:]]
    assert (first.previous_cursor, third.next_cursor) == (None, None)
    back = await log.history("Account", key, limit=4, cursor=third.previous_cursor)
    assert [entry.id for entry in back.items] == whole[4:8]
    start = await log.history("Account", key, limit=4, cursor=back.previous_cursor)
    assert [entry.id for entry in start.items] == whole[:4]
    assert start.previous_cursor is None


async def test_a_history_is_that_of_one_model(tickets, labels, log):
    made = await tickets.insert({"title": "one"})
    await labels.insert({"code": str(made.id)})
    assert [e.model for e in (await log.history("Ticket", made.id)).items] == ["Ticket"]
    assert [e.model for e in (await log.history("Label", str(made.id))).items] == ["Label"]


async def test_the_actions_of_somebody_are_found_across_models(accounts, tickets, log):
    with acting_as("ann"):
        await accounts.insert(account(1))
        await tickets.insert({"title": "one"})
    with acting_as("bob"):
        await accounts.insert(account(2))
    await accounts.insert(account(3))
    assert [e.model for e in (await log.actions("ann")).items] == ["Ticket", "Account"]
    assert len((await log.actions("bob")).items) == 1
    assert (await log.actions("eve")).items == []


async def test_an_erased_actor_is_nobody_any_more(bank, accounts, log):
    with acting_as("ann"):
        made = await accounts.insert(account(1))
    pseudonym = (await log.actions("ann")).items[0].pseudonym
    assert await log.forget_actor("ann") == 1
    assert (await log.actions("ann")).items == []
    entry = (await log.history("Account", made.id)).items[0]
    assert (entry.actor, entry.pseudonym) == (None, pseudonym)
    assert [e.id for e in (await log.actions_under(pseudonym)).items] == [entry.id]
    rows = await bank.db.fetch(Statement("SELECT t::text FROM timber_audit_actors t", label=""))
    assert not any("ann" in row[0] for row in rows)
    with acting_as("ann"):
        await accounts.update(made.id, {"balance": 1})
    again = (await log.actions("ann")).items
    assert [e.action for e in again] == ["update"], "who comes back is somebody new"
    assert again[0].pseudonym != pseudonym


async def test_two_who_meet_an_actor_at_once_do_not_wait_and_both_count(
    bank, accounts, log, audited_url
):
    async with Timber(
        audited_url, registry=REGISTRY, audit_key=KEY, audit_seal_every=None
    ) as other:
        with acting_as("ann"):
            async with bank.unit_of_work(), other.unit_of_work():
                await accounts.insert(account(1))
                await rows_of(other, "Account").insert(account(2))
    found = (await log.actions("ann")).items
    assert len(found) == 2
    assert len({entry.pseudonym for entry in found}) == 2
    assert await log.forget_actor("ann") == 2


async def test_a_pseudonym_that_was_rolled_back_is_not_kept(bank, accounts, log):
    with acting_as("ann"):
        with pytest.raises(RuntimeError):
            async with bank.unit_of_work():
                for number in range(4):
                    await accounts.insert(account(number))
                raise RuntimeError
        for number in range(4):
            await accounts.insert(account(number))
    assert len((await log.actions("ann")).items) == 4


async def test_a_process_keeps_a_pseudonym_for_a_minute_and_not_too_many(
    bank, accounts, log, monkeypatch
):
    monkeypatch.setattr(pseudonyms, "KEPT", 3)
    monkeypatch.setattr(pseudonyms, "SECONDS", 0.0)
    for _ in range(3):
        for name in "abcde":
            with acting_as(name):
                await accounts.insert(account(uuid4().hex))
    for name in "abcde":
        entries = (await log.actions(name)).items
        assert len(entries) == 3
        assert len({entry.pseudonym for entry in entries}) == 1


async def test_without_its_salt_an_entry_proves_nothing(accounts, log):
    made = await accounts.insert(account(1, balance=5))
    other = await accounts.insert(account(2, balance=5))
    assert await log.forget_values("Account", [made.id]) == 1
    assert await log.forget_values("Account", [made.id]) == 0
    with pytest.raises(UsageError, match="salt"):
        log.proves((await log.history("Account", made.id)).items[0], "balance", 5)
    assert log.proves((await log.history("Account", other.id)).items[0], "balance", 5)


async def test_what_does_not_fit_is_said(accounts, log):
    made = await accounts.insert(account(1))
    entry = (await log.history("Account", made.id)).items[0]
    for wrong in (
        log.history("Account", "no key"),
        log.history("Account", made.id, limit=0),
        log.actions("ann", limit=1001),
        log.actions("ann", cursor="b64"),
        log.actions("ann", cursor="ü"),
        log.history("Account", made.id, cursor="bi01"),
    ):
        with pytest.raises(ValidationError):
            await wrong
    with pytest.raises(ConfigurationError):
        await log.history("Nothing", 1)
    with pytest.raises(ValidationError):
        log.proves(entry, "balance", "much")
    with pytest.raises(UsageError, match="no digest"):
        log.proves(entry, "note", "text")


async def test_a_model_that_is_audited_needs_a_key(audited_url):
    with pytest.raises(ConfigurationError, match="audit_key"):
        await Timber(audited_url, registry=REGISTRY).start()
    with pytest.raises(ConfigurationError, match="shorter than 32"):
        await Timber(audited_url, registry=REGISTRY, audit_key="short").start()


async def test_without_a_key_there_is_no_audit_to_ask(database_url):
    async with Timber(database_url) as timber:
        with pytest.raises(ConfigurationError, match="audit_key"):
            _ = timber.audit
