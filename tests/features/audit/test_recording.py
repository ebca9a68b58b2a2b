"""Whatever is done to a row leaves a row in the audit, whichever way it is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.features.audit.conftest import account
from timber.context import acting_as
from timber.database.statements import Statement
from timber.errors import UsageError, ValidationError
from timber.repository.scheduling import Rounds
from timber.testing import count_queries


async def actions(log, model: str, key: Any) -> list[tuple[str, tuple[str, ...]]]:
    page = await log.history(model, key)
    return [(entry.action, entry.fields) for entry in reversed(page.items)]


ALL = ("user_id", "email", "balance", "status", "data", "last_round", "next_round", "every")


async def test_a_new_row_is_recorded_with_who_when_and_what(bank, accounts, log):
    before = datetime.now(UTC)
    with acting_as("ann"):
        made = await accounts.insert(account(1, balance="12.50", data={"b": 1, "a": [2]}))
    entry = (await log.history("Account", made.id)).items[0]
    assert (entry.action, entry.model, entry.row_key) == ("insert", "Account", str(made.id))
    assert entry.actor == "ann"
    assert before <= entry.at <= datetime.now(UTC)
    assert set(ALL) <= set(entry.fields)
    assert {"id", "note", "version", "updated_at"}.isdisjoint(entry.fields)
    assert log.proves(entry, "balance", "12.5")
    assert log.proves(entry, "data", {"a": [2], "b": 1})
    assert log.proves(entry, "status", "new")
    assert log.proves(entry, "next_round", None)
    assert not log.proves(entry, "balance", Decimal(12))
    assert not log.proves(entry, "data", {"a": [2], "b": 2})


async def test_every_verb_about_one_row_is_recorded(accounts, log):
    key = (await accounts.insert(account(1))).id
    await accounts.update(key, {"status": "open", "note": "unwatched"})
    await accounts.update(key, {"note": "unwatched"})
    await accounts.update(key, {"data": {"a": 1}}, merge="data")
    await accounts.upsert(account(1, balance=3), on="email")
    await accounts.delete(key)
    await accounts.restore(key)
    await accounts.delete(key, hard=True)
    found = await actions(log, "Account", key)
    assert found[0][0] == "insert"
    assert found[1:] == [
        ("update", ("status",)),
        ("update", ("data",)),
        ("update", ("balance", "user_id", "deleted_at")),
        ("soft_delete", ("deleted_at",)),
        ("restore", ("deleted_at",)),
        ("delete", ()),
    ]


async def test_every_verb_about_many_rows_is_recorded(accounts, log):
    copied = await accounts.insert_many([account(n, balance=n) for n in range(3)])
    returned = await accounts.insert_many_returning([account(n, balance=n) for n in range(3, 5)])
    keys = [*copied, *(row.id for row in returned)]
    assert await accounts.update_where({"status": "closed"}, accounts.where.balance < 2) == 2
    assert await accounts.delete_where(balance=2) == 1
    assert await accounts.delete_where(balance=3, hard=True) == 1
    assert await accounts.trim(balance=4) == 1
    for number, key in enumerate(keys):
        first = (await log.history("Account", key)).items[-1]
        assert first.action == "insert"
        assert log.proves(first, "balance", number)
        assert not log.proves(first, "balance", number + 1)
    later = [[action for action, _ in await actions(log, "Account", key)][1:] for key in keys]
    assert later == [["update"], ["update"], ["soft_delete"], ["delete"], ["delete"]]
    changed = (await log.history("Account", keys[0])).items[0]
    assert log.proves(changed, "status", "closed")


async def test_claims_rounds_and_links_are_recorded_without_values(accounts, labels, log):
    key = (await accounts.insert(account(1))).id
    now = datetime.now(UTC)
    await accounts.claim(limit=1, lease=timedelta(seconds=9))
    await accounts.release(key)
    await accounts.finish([key], at=now, rounds=Rounds("last_round", "next_round", "every"))
    await labels.insert({"code": "vip"})
    await accounts.add_links(key, "labels", ["vip"])
    await accounts.add_links(key, "labels", ["vip"])
    await accounts.set_links(key, "labels", [])
    assert (await actions(log, "Account", key))[1:] == [
        ("update", ("claimed_until",)),
        ("update", ("claimed_until",)),
        ("update", ("last_round", "next_round", "claimed_until")),
        ("update", ("labels",)),
        ("update", ("labels",)),
    ]
    claimed = (await log.history("Account", key)).items[0]
    with pytest.raises(UsageError, match="no digest"):
        log.proves(claimed, "labels", None)


async def test_keys_that_postgresql_makes_are_recorded(tickets, log):
    one = await tickets.insert({"title": "one"})
    many = await tickets.insert_many_returning(
        [{"title": f"t{n}"} | ({"place": "here"} if n % 2 else {}) for n in range(7)]
    )
    keys = await tickets.insert_many([{"title": f"c{n}"} for n in range(3)])
    expected = [(one.id, "one"), *((row.id, row.title) for row in many)]
    expected += [(key, f"c{n}") for n, key in enumerate(keys)]
    for key, title in expected:
        entry = (await log.history("Ticket", key)).items[0]
        assert log.proves(entry, "title", title)


async def test_only_declared_columns_are_recorded(labels, log):
    await labels.insert({"code": "vip", "color": "red", "size": 3})
    await labels.update("vip", {"size": 4})
    await labels.update("vip", {"size": 5, "color": "blue"})
    assert await actions(log, "Label", "vip") == [("insert", ("color",)), ("update", ("color",))]


async def test_keys_that_are_text_find_their_rows_in_a_batch(labels, log):
    keys = await labels.insert_many([{"code": f"c{n}", "color": f"red{n}"} for n in range(4)])
    await labels.insert_many_returning([{"code": f"d{n}", "color": "blue"} for n in range(2)])
    for number, key in enumerate(keys):
        assert log.proves((await log.history("Label", key)).items[0], "color", f"red{number}")
    assert len((await log.history("Label", "d1")).items) == 1


async def test_services_record_what_their_repositories_do(bank, log):
    service = bank.service("Account")
    with acting_as("web"):
        made = await service.create(account(1))
        await service.update(made.id, {"status": "open"}, owner="u")
    assert [entry.actor for entry in (await log.history("Account", made.id)).items] == ["web"] * 2


async def test_what_is_rolled_back_leaves_nothing(bank, accounts, log):
    made = await accounts.insert(account(1))
    with pytest.raises(RuntimeError), acting_as("ann"):
        async with bank.unit_of_work():
            await accounts.update(made.id, {"status": "open"})
            await accounts.insert_many([account(2)])
            raise RuntimeError
    async with bank.unit_of_work() as uow:
        with pytest.raises(RuntimeError):
            async with uow.savepoint():
                await accounts.update(made.id, {"status": "open"})
                raise RuntimeError
    assert [action for action, _ in await actions(log, "Account", made.id)] == ["insert"]
    assert (await log.actions("ann")).items == []


async def test_a_write_that_touches_no_row_is_none(accounts, log, bank):
    assert await accounts.update_where({"status": "open"}, balance=99) == 0
    assert await accounts.delete_where(balance=99) == 0
    with acting_as("nobody-yet"):
        assert await accounts.update_where({"status": "open"}, balance=99) == 0
    assert await bank.db.fetch(Statement("SELECT FROM timber_audit", label="")) == []
    assert await bank.db.fetch(Statement("SELECT FROM timber_audit_actors", label="")) == []


async def test_a_write_and_its_record_are_one_statement(bank, accounts):
    made = await accounts.insert(account(1))
    for _ in range(3):  # somebody who is met again is looked up once
        with acting_as("ann"):
            await accounts.update(made.id, {"balance": 1})
    with acting_as("ann"), count_queries(bank.db) as queries:
        await accounts.insert(account(2))
        await accounts.update(made.id, {"status": "open"})
        await accounts.update_where({"status": "open"}, balance=1)
        await accounts.delete(made.id)
    assert queries.labels == [
        *("insert Account", "update Account", "update_where Account", "delete Account")
    ]


async def test_no_value_is_in_the_audit(bank, accounts, log):
    canary = "canary-7319"
    with acting_as("ann"):
        made = await accounts.insert(account(1, note=canary, data={canary: canary}))
        await accounts.update(made.id, {"email": f"{canary}@example.org"})
    for table in ("timber_audit", "timber_audit_seals", "timber_audit_actors"):
        rows = await bank.db.fetch(Statement(f"SELECT t::text AS t FROM {table} AS t", label=""))
        assert not [row for row in rows if canary in row["t"] or canary.encode().hex() in row["t"]]


async def test_equal_values_have_different_digests(accounts, log):
    keys = await accounts.insert_many([account(n, balance=5) for n in range(20)])
    entries = [(await log.history("Account", key)).items[0] for key in keys]
    assert len({entry.digests["balance"] for entry in entries}) == 20


async def test_json_that_cannot_be_stored_is_named_as_before(accounts):
    with pytest.raises(ValidationError) as caught:
        await accounts.insert(account(1, data={"when": {1, 2}}))
    assert [field for field, _ in caught.value.errors] == ["data.when"]
    with pytest.raises(ValidationError) as caught:
        await accounts.insert_many([account(1), account(2, data={"n": 2**70})])
    assert [field for field, _ in caught.value.errors] == ["1.data.n"]


async def test_the_transaction_id_is_that_of_the_unit_of_work(bank, accounts, log):
    async with bank.unit_of_work():
        one = await accounts.insert(account(1))
        two = await accounts.insert(account(2))
        await accounts.update(two.id, {"status": "open"})
    three = await accounts.insert(account(3))
    entries = [
        entry for row in (one, two) for entry in (await log.history("Account", row.id)).items
    ]
    assert len({entry.transaction_id for entry in entries}) == 1
    other = (await log.history("Account", three.id)).items[0]
    assert other.transaction_id > entries[0].transaction_id
