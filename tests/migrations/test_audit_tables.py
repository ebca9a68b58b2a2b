"""The tables of the audit and their guards come and go with the models that are audited."""

from __future__ import annotations

import asyncpg
import pytest

from tests.harness.databases import connected
from tests.migrations.listing import listing
from tests.migrations.projects import Project

PLAIN = """
version: 1
models:
  - name: Account
    table: accounts
    columns: [{name: email, type: Text}]
"""
AUDITED = PLAIN + "    features: {audit: true}\n"


async def test_they_are_made_and_taken_back_by_migrations(small: Project, other_url: str) -> None:
    small.write(PLAIN)
    await small.init()
    await small.up()
    before = await listing(small.url)
    small.write(AUDITED)
    await small.new("audit")
    await small.up()
    assert await small.check() == []
    await small.create_all(other_url)
    assert await listing(small.url) == await listing(other_url)
    await small.down()
    assert await listing(small.url) == before


async def test_a_missing_guard_is_a_difference(small: Project) -> None:
    small.write(AUDITED)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        triggers = await connection.fetch(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'timber_audit'::regclass"
        )
        assert len(triggers) == 2
        await connection.execute(f"DROP TRIGGER {triggers[0][0]} ON timber_audit")
    assert len(await small.check()) == 1


async def test_what_they_hold_can_be_neither_changed_nor_removed(small: Project) -> None:
    small.write(AUDITED)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        await connection.execute(
            "INSERT INTO timber_audit (made_at, model, row_key, action, fields, digests, salt, mac, key_id)"
            " VALUES (now(), 'Account', '1', 'insert', '{email}', '\\x01', '\\x02', '\\x03', 'k')"
        )
        await connection.execute(
            "INSERT INTO timber_audit_seals VALUES (1, 1, 1, 0, 9, 1, 1, '', '', '', 'k', now())"
        )
        for forbidden in (
            "UPDATE timber_audit SET action = 'delete'",
            "UPDATE timber_audit SET salt = '\\x09'",
            "UPDATE timber_audit SET salt = NULL, actor = gen_random_uuid()",
            "DELETE FROM timber_audit",
            "TRUNCATE timber_audit",
            "UPDATE timber_audit_seals SET row_count = 0",
            "DELETE FROM timber_audit_seals",
            "TRUNCATE timber_audit_seals",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(forbidden)
        # What an erasure takes.
        assert await connection.execute("UPDATE timber_audit SET salt = NULL") == "UPDATE 1"
