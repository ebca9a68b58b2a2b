"""What is done to the audit by somebody who owns the database, but not the key, is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.features.audit.conftest import account, finished
from tests.features.audit.tampering import owner_of, tamper
from timber.context import acting_as
from timber.database.statements import Statement
from timber.features.audit import AuditKeys, Sealer, verify

SECOND = "id = (SELECT min(id) + 1 FROM timber_audit)"
FIRST_TWO = "id < (SELECT min(id) + 2 FROM timber_audit)"
LAST = "id = (SELECT max(id) FROM timber_audit)"
COLUMNS = (
    "transaction_id, id, made_at, model, row_key, action, actor, fields, digests, salt, mac, key_id"
)


def copied(row: str, **columns: str) -> str:
    """A copy of a row, with some columns of its own."""
    values = ", ".join(columns.get(name, name) for name in COLUMNS.split(", "))
    return (
        f"INSERT INTO timber_audit ({COLUMNS}) OVERRIDING SYSTEM VALUE"
        f" SELECT {values} FROM timber_audit WHERE {row}"
    )


def swapped(one: str, *columns: str) -> str:
    """Two rows whose columns have changed places."""
    pairs = ", ".join(f"{c} = other.{c}" for c in columns)
    return f"UPDATE timber_audit AS this SET {pairs} FROM timber_audit AS other WHERE this.{one} AND other.{one} AND this.id <> other.id"


@pytest.fixture
async def sealed(bank: Any, accounts: Any, sealer: Any) -> None:
    """Twelve rows under three seals."""
    with acting_as("ann"):
        for number in range(11):
            await accounts.insert(account(number))
    await accounts.insert(account(99))
    await finished(bank)
    assert await sealer.seal_once() == 12


async def kinds(log: Any, anchors: Any = ()) -> set[str]:
    return {problem.kind for problem in (await log.verify(anchors)).problems}


async def test_untouched_it_is_all_well(sealed, log):
    report = await log.verify()
    assert report.ok
    assert (report.seals, report.sealed_rows, report.unsealed_rows) == (3, 12, 0)
    assert report.head == await log.anchor()


@pytest.mark.parametrize(
    "change",
    [
        "action = 'delete'",
        "model = 'Other'",
        "row_key = 'other'",
        "actor = gen_random_uuid()",
        "actor = NULL",
        "made_at = made_at + interval '1 microsecond'",
        "fields = fields[2:]",
        "fields = fields || '{more}'",
        "digests = set_byte(digests, 3, get_byte(digests, 3) # 1)",
        "digests = substr(digests, 2)",
        "salt = sha256(salt)",
        "mac = sha256(mac)",
        "key_id = 'other'",
        "transaction_id = transaction_id - 1",
        "transaction_id = 1000000000000",
    ],
)
async def test_a_changed_row_is_found(sealed, log, audited_url, change):
    await tamper(audited_url, f"UPDATE timber_audit SET {change} WHERE {SECOND}")
    assert await kinds(log)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (f"DELETE FROM timber_audit WHERE {SECOND}", "removed"),
        (f"DELETE FROM timber_audit WHERE {LAST}", "removed"),
        ("DELETE FROM timber_audit", "removed"),
        (copied(SECOND, id="id + 1000"), "inserted"),
        (copied(LAST, id="id + 1000"), "inserted"),
        (copied(SECOND, id="1000", transaction_id="0"), "inserted"),
        (copied(SECOND, id="-1", transaction_id="-1"), "inserted"),
        (swapped(FIRST_TWO, "row_key"), "changed"),
        (swapped(FIRST_TWO, "salt", "digests", "mac"), "changed"),
        ("DELETE FROM timber_audit_seals WHERE number = 1", "chain"),
        ("DELETE FROM timber_audit_seals WHERE number = 2", "chain"),
        ("UPDATE timber_audit_seals SET row_count = row_count - 1 WHERE number = 2", "chain"),
        ("UPDATE timber_audit_seals SET sealed_at = now() WHERE number = 2", "chain"),
        ("UPDATE timber_audit_seals SET key_id = 'other' WHERE number = 2", "unknown_key"),
        ("UPDATE timber_audit_seals SET era = 2, first_id = 1 WHERE number = 3", "chain"),
        ("UPDATE timber_audit_seals SET number = -number WHERE number = 2", "chain"),
    ],
)
async def test_what_is_put_in_taken_out_or_exchanged_is_found(
    sealed, log, audited_url, change, kind
):
    await tamper(audited_url, change)
    assert kind in await kinds(log)


async def test_a_chain_made_anew_without_the_key_is_found(sealed, log, audited_url, bank):
    # The intruder makes everything as the sealer would, under a key of their own.
    mine = AuditKeys(["another-key-that-the-intruder-has-made"])
    await tamper(audited_url, f"UPDATE timber_audit SET action = 'delete' WHERE {SECOND}")
    async with owner_of(audited_url) as connection:
        await connection.execute("DELETE FROM timber_audit_seals")
    await finished(bank)
    assert await Sealer(bank.db, mine, batch=5).seal_once() == 12
    assert "unknown_key" in await kinds(log)
    named = mine.current.id
    honest = log._keys.current.id
    await tamper(
        audited_url, f"UPDATE timber_audit_seals SET key_id = '{honest}' WHERE key_id = '{named}'"
    )
    assert "chain" in await kinds(log)


async def test_what_is_cut_off_the_end_is_found_by_an_anchor(sealed, log, audited_url):
    anchor = await log.anchor()
    assert anchor is not None
    cut = "transaction_id >= (SELECT from_transaction FROM timber_audit_seals WHERE number = 3)"
    await tamper(audited_url, f"DELETE FROM timber_audit WHERE {cut}")
    await tamper(audited_url, "DELETE FROM timber_audit_seals WHERE number = 3")
    assert await kinds(log) == set(), "nothing else says that there was more"
    assert await kinds(log, [anchor]) == {"cut_off"}


async def test_a_chain_that_went_another_way_since_is_found_by_an_anchor(
    sealed, bank, log, audited_url, sealer
):
    anchor = await log.anchor()
    await tamper(audited_url, "DELETE FROM timber_audit_seals WHERE number = 3")
    await finished(bank)
    await sealer.seal_all()
    assert await kinds(log) == set()
    assert await kinds(log, [anchor]) == {"chain"}, "sealed again, at another time"


async def test_an_anchor_from_before_still_holds_when_the_chain_has_grown(
    sealed, bank, log, sealer, accounts
):
    anchor = await log.anchor()
    await accounts.insert(account(100))
    await finished(bank)
    assert await sealer.seal_all() == 1
    assert (await log.verify([anchor])).ok


async def test_a_row_forged_at_the_unsealed_end_is_found(sealed, log, audited_url, accounts):
    await accounts.insert(account(100))
    assert (await log.verify()).ok
    late = {"id": "id + 1000", "transaction_id": "pg_current_xact_id()::text::bigint"}
    await tamper(audited_url, copied(LAST, action="'delete'", **late))
    report = await log.verify()
    assert [problem.kind for problem in report.problems] == ["forged"]
    assert report.unsealed_rows == 2


async def test_a_row_of_a_transaction_that_has_not_begun_is_found(sealed, log, audited_url):
    await tamper(audited_url, copied(LAST, id="id + 1000", transaction_id="1000000000000"))
    assert await kinds(log) == {"forged"}


async def test_problems_are_counted_beyond_those_that_are_told(sealed, log, audited_url, accounts):
    await accounts.insert_many([account(n) for n in range(1000, 1150)])
    await tamper(audited_url, "UPDATE timber_audit SET model = 'Other'")
    report = await log.verify()
    assert len(report.problems) == 100
    assert report.problem_count > 150


async def test_with_the_wrong_key_nothing_holds(sealed, bank):
    report = await verify(bank.db, AuditKeys(["not-the-key-that-the-audit-was-made-with"]))
    assert {problem.kind for problem in report.problems} == {"unknown_key"}


async def test_a_report_holds_no_key(sealed, log, bank):
    rows = await bank.db.fetch(Statement("SELECT key_id FROM timber_audit_seals", label=""))
    assert {row["key_id"] for row in rows} == {log._keys.current.id}
    assert "for-nothing-but-tests" not in repr(log._keys.current) + str(await log.verify())
