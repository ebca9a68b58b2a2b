"""Whatever fails, no value and no key is in a message, a traceback or the log; the dump of the database has none either."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback

import pytest

from tests.features.encryption.models import account
from tests.features.encryption.test_destroyed_keys import run
from timber import ConflictError, EncryptionError, ServiceError, ValidationError
from timber.features.encryption.rotation import Rotation
from timber.testing import count_queries

VALUE = "value-canary-4711"
KEY = b"key-canary-0815-key-canary-0815!"
FORMS = [
    form
    for secret in (VALUE.encode(), KEY)
    for form in (secret, secret[:12], base64.b64encode(secret), secret.hex().encode())
]


def assert_clean(text: str) -> None:
    found = [form for form in FORMS if form in text.encode()]
    assert not found


@pytest.fixture
def keys(keys):
    keys.replace("one", KEY)
    return keys


async def test_nothing_is_shown_whatever_fails(vault, accounts, diaries, provider, caplog):
    keys = provider.key_ring
    caplog.set_level(logging.DEBUG)
    secret = account(iban=VALUE, mail=VALUE, details={"of": VALUE}, photo=VALUE.encode())
    made = await accounts.insert(secret)
    page = await diaries.insert({"user_id": "ann", "entry": VALUE, "mood": {VALUE: 1}})

    async def tamper(column: str) -> None:
        async with vault.unit_of_work() as uow:
            connection = await uow.session.connection()
            await connection.exec_driver_sql(f"UPDATE accounts SET {column} = iban")

    async def moved() -> None:
        await tamper("mail")
        await accounts.get(made.id)

    async def without_key() -> None:
        keys.add("two")
        keys.remove("one")
        await accounts.get(made.id)

    async def with_another_key() -> None:
        keys.replace("one", b"another key of thirty-two bytes!")
        await accounts.get(made.id)

    async def destroyed() -> None:
        await provider.persons.destroy("ann")
        await diaries.get(page.id)

    async def half_rotated() -> None:
        done = await Rotation(vault.db, vault.registry, provider, grace=0, patience=0).run()
        assert done.failed
        await accounts.find(mail=VALUE)
        await accounts.get(made.id)

    attempts = [
        (ConflictError, lambda: accounts.insert({**secret, "photo": KEY})),
        (ValidationError, lambda: accounts.insert({**secret, "details": {"of": VALUE, 1: VALUE}})),
        (ValidationError, lambda: accounts.insert({**secret, "iban": VALUE * 9})),
        (ValidationError, lambda: accounts.find(accounts.where.iban > VALUE)),
        (ValidationError, lambda: accounts.find(iban=VALUE)),
        (EncryptionError, destroyed),
        (EncryptionError, moved),
        (EncryptionError, without_key),
        (EncryptionError, half_rotated),
        (EncryptionError, with_another_key),
    ]
    for kind, attempt in attempts:
        with pytest.raises(kind) as caught:
            await attempt()
        assert isinstance(caught.value, ServiceError)
        shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
        assert_clean(shown)
    assert_clean(caplog.text)


async def test_a_dump_has_ciphertext_only_and_statements_carry_no_values(
    vault, accounts, diaries, letters
):
    with count_queries(vault.db) as queries:
        row = await accounts.insert(
            account(iban=VALUE, mail=VALUE, details={"of": VALUE}, photo=VALUE.encode())
        )
        await accounts.update(row.id, {"details": {"more": VALUE}}, merge="details")
        await letters.insert({"code": "a", "body": VALUE})
        await diaries.insert({"user_id": "ann", "entry": VALUE, "mood": [VALUE]})
    assert_clean(repr(vars(queries)))
    assert_clean(await asyncio.to_thread(run, "pg_dump", vault.settings.database_url))
