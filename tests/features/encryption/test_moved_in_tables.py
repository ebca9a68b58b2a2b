"""What somebody who can write to the tables moves around in them is refused when a repository reads it."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from tests.features.encryption.models import account
from tests.harness.databases import connected
from timber import DecryptionError

COLUMNS = ("iban", "mail", "details", "photo", "balance")


async def test_every_pair_of_places_in_two_tables(vault_url, accounts, letters):
    made = [await accounts.insert(account(n, balance=Decimal(n))) for n in range(2)]
    written = [
        await letters.insert({"code": f"c{m.number}", "iban": "i", "body": "b"}) for m in made
    ]
    places = [
        *(("accounts", "id", row.id, name, accounts) for row in made for name in COLUMNS),
        *(
            ("letters", "code", row.code, name, letters)
            for row in written
            for name in ("iban", "body")
        ),
    ]
    async with connected(vault_url) as connection:
        values = {
            place: await connection.fetchval(
                f"SELECT {place[3]} FROM {place[0]} WHERE {place[1]} = $1", place[2]
            )
            for place in places
        }
        for source, target in itertools.permutations(places, 2):
            table, key, row, column, repository = target
            update = f"UPDATE {table} SET {column} = $1 WHERE {key} = $2"
            await connection.execute(update, values[source], row)
            with pytest.raises(DecryptionError, match=rf"\.{column}\b"):
                await repository.get(row)
            await connection.execute(update, values[target], row)
    for row in made:
        assert (await accounts.get(row.id)) == row


async def test_a_whole_row_copied_under_another_key_is_refused(vault_url, accounts):
    made = await accounts.insert(account())
    async with connected(vault_url) as connection:
        await connection.execute("ALTER TABLE accounts DROP CONSTRAINT uq_accounts_number")
        try:
            await connection.execute(
                "INSERT INTO accounts (id, user_id, number, iban, version, created_at, updated_at) "
                "SELECT gen_random_uuid(), user_id, number, iban, version, created_at, updated_at FROM accounts"
            )
            with pytest.raises(DecryptionError):
                await accounts.find(number=1)
        finally:
            await connection.execute("DELETE FROM accounts")
            await connection.execute(
                "ALTER TABLE accounts ADD CONSTRAINT uq_accounts_number UNIQUE (number)"
            )
    assert made.number == 1
