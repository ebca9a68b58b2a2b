"""Whichever way a row goes through a repository, its encrypted columns are ciphertext in the table and values outside."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.features.encryption.models import account
from timber import DTO, FeatureBypassedError, ValidationError
from timber.database.statements import Statement

CANARY = "canary-4711"
ENCRYPTED = ("iban", "mail", "details", "photo", "balance")


async def table(vault, name="accounts"):
    return await vault.db.fetch(Statement(f"SELECT * FROM {name}", label="look"))


def secret(number=1, **more):
    return account(
        number,
        iban=CANARY,
        mail=CANARY,
        details={"of": CANARY, "deep": [{"list": CANARY}]},
        photo=CANARY.encode(),
        balance=Decimal("4711.00"),
        **more,
    )


def hidden(rows):
    """No plaintext in any form in which it could be there."""
    everything = repr([tuple(row) for row in rows]).encode()
    assert CANARY.encode() not in everything
    assert CANARY.encode().hex().encode() not in everything
    assert all(isinstance(row[name], bytes) for row in rows for name in ENCRYPTED)
    return len(rows)


def shown(found, number=1):
    assert (found.iban, found.mail, found.photo) == (CANARY, CANARY, CANARY.encode())
    assert found.details == {"of": CANARY, "deep": [{"list": CANARY}]}
    assert (found.balance, found.number) == (Decimal("4711.00"), number)


async def test_insert_and_every_way_to_read(vault, accounts):
    class Narrow(DTO):
        iban: str

    made = await accounts.insert(secret())
    shown(made)
    assert hidden(await table(vault)) == 1
    for found in (
        await accounts.get(made.id),
        *await accounts.get_many([made.id]),
        *await accounts.find(number=1),
        *(await accounts.page()).items,
        *(await accounts.scroll()).items,
    ):
        shown(found)
    assert (await accounts.get(made.id, into=Narrow)).iban == CANARY
    async with accounts.stream() as rows:
        assert [row.iban async for row in rows] == [CANARY]
    async with vault.unit_of_work():
        shown(await accounts.for_update(made.id))


async def test_copy_bulk_and_upsert(vault, accounts):
    await accounts.insert_many([secret(n) for n in range(300)])
    for made in await accounts.insert_many_returning([secret(n) for n in range(300, 320)]):
        shown(made, made.number)
    first = await accounts.upsert(secret(400), on="number")
    second = await accounts.upsert(secret(400), on="number")
    shown(second, 400)
    assert first.id == second.id
    assert hidden(await table(vault)) == 321
    for found in await accounts.find(limit=1000):
        shown(found, found.number)


async def test_update_update_where_and_merge(vault, accounts):
    made = await accounts.insert(account(details={"kept": 1}))
    other = await accounts.insert(account(2, details={"kept": 2}))
    changed = await accounts.update(made.id, {"iban": CANARY}, expected_version=1)
    assert (changed.iban, changed.mail) == (CANARY, "mail-1@example.org")
    merged = await accounts.update(made.id, {"details": {"new": CANARY}}, merge="details")
    assert merged.details == {"kept": 1, "new": CANARY}
    assert await accounts.update_where({"mail": CANARY, "balance": None}, number=2) == 1
    assert (await accounts.get(other.id)).mail == CANARY
    assert CANARY.encode() not in repr([tuple(row) for row in await table(vault)]).encode()
    assert [row.number for row in await accounts.find(mail=CANARY)] == [2]


async def test_a_value_set_to_null_cannot_be_found_any_more(vault, accounts):
    made = await accounts.insert(account())
    await accounts.update(made.id, {"mail": None})
    row = (await table(vault))[0]
    assert (row["mail"], row["mail_blind"]) == (None, None)
    assert await accounts.count(mail="mail-1@example.org") == 0
    assert await accounts.count(accounts.where.mail.is_null()) == 1


async def test_rows_of_other_key_types_and_nested_ones(vault, accounts, letters):
    class LetterIn(DTO):
        body: str | None

    owner = await accounts.insert(account())
    made = await letters.insert({"code": "ü-1", "account_id": owner.id, "body": CANARY})
    assert (made.body, (await letters.get("ü-1", into=LetterIn)).body) == (CANARY, CANARY)
    assert await letters.delete_where(code="ü-1") == 1


async def test_equal_values_are_found_by_their_digests(accounts):
    await accounts.insert_many([account(n, balance=Decimal(n)) for n in range(5)])
    where = accounts.where
    assert [a.number for a in await accounts.find(mail="mail-3@example.org")] == [3]
    assert [a.number for a in await accounts.find(balance="3.00")] == [3]
    assert await accounts.count(where.balance.in_([1, "2", Decimal("9.9")])) == 2
    assert await accounts.count(where.mail != "mail-3@example.org") == 4
    for ask in (where.iban == "GB", where.balance > 1, where.details["number"] == 1):
        with pytest.raises(ValidationError, match="is encrypted"):
            await accounts.find(ask)


async def test_the_orm_and_the_hidden_column_are_refused(vault, accounts):
    with pytest.raises(FeatureBypassedError):
        async with vault.unit_of_work() as uow:
            await uow.session.execute(sa.select(accounts.model.iban))
    with pytest.raises(ValidationError):
        await accounts.insert(account(mail_blind=b"x"))
    with pytest.raises(ValidationError):
        await accounts.update(uuid4(), {"mail_blind": b"x"})
