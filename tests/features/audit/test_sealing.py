"""What has finished is sealed, by one at a time; writers never wait, and nothing is missed or sealed twice."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from tests.features.audit.conftest import KEY, REGISTRY, account, finished, rows_of
from tests.features.audit.tampering import tamper
from timber import Timber
from timber.context import acting_as
from timber.database.statements import Statement
from timber.errors import UnavailableError
from timber.features.audit import AuditKeys, Sealer, sealing


async def test_there_may_be_nothing_to_seal(sealer, log):
    assert await sealer.seal_once() == 0
    assert await log.anchor() is None
    report = await log.verify()
    assert report.ok
    assert report.head is None


async def test_rows_of_a_running_transaction_and_all_that_began_later_wait(
    bank, accounts, sealer, log
):
    await accounts.insert(account(1))
    await finished(bank)
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with bank.unit_of_work():
            await accounts.insert(account(2))
            writing.set()
            await go_on.wait()
            await accounts.insert(account(3))

    task = asyncio.create_task(slow())
    await writing.wait()
    await accounts.insert(account(4))
    assert await sealer.seal_all() == 1
    assert await sealer.seal_all() == 0
    report = await log.verify()
    assert report.ok
    assert (report.sealed_rows, report.unsealed_rows) == (1, 1)
    assert report.unsealed_seconds > 0
    go_on.set()
    await task
    await finished(bank)
    assert await sealer.seal_all() == 3
    report = await log.verify()
    assert report.ok
    assert (report.sealed_rows, report.unsealed_rows) == (4, 0)


async def test_writers_do_not_wait_for_the_sealer_nor_it_for_them(bank, accounts, sealer):
    await accounts.insert(account(1))
    await finished(bank)
    async with asyncio.timeout(10):
        async with bank.unit_of_work(independent=True):
            await accounts.insert(account(2))
            await asyncio.create_task(sealer.seal_all(), context=contextvars.Context())
            await accounts.insert(account(3))


async def test_two_sealers_at_once_seal_everything_once(bank, accounts, keys, log):
    await accounts.insert_many([account(n) for n in range(40)])
    for number in range(100, 120):
        await accounts.insert(account(number))
    await finished(bank)
    sealers = [Sealer(bank.db, keys, batch=3) for _ in range(4)]
    total = 0
    while total < 60:
        total += sum(await asyncio.gather(*(sealer.seal_once() for sealer in sealers)))
    report = await log.verify()
    assert report.ok
    assert report.sealed_rows == 60


async def test_a_transaction_larger_than_a_batch_is_under_one_seal(bank, accounts, sealer, log):
    await accounts.insert_many([account(n) for n in range(100)])
    await accounts.insert(account(100))
    await finished(bank)
    assert await sealer.seal_once() == 101
    assert (await log.verify()).seals == 2


async def test_a_long_backlog_is_sealed_in_parts(bank, accounts, keys, log):
    for number in range(25):
        await accounts.insert(account(number))
    await finished(bank)
    sealer = Sealer(bank.db, keys, batch=1)
    assert await sealer.seal_once() == 10
    assert (await log.verify()).ok
    assert await sealer.seal_all() == 15
    assert (await log.verify()).seals == 25


async def test_a_sealer_that_dies_half_way_leaves_nothing_half(
    bank, accounts, sealer, log, monkeypatch
):
    await accounts.insert_many([account(n) for n in range(6)])
    await accounts.insert_many([account(n) for n in range(6, 12)])
    await finished(bank)
    execute, sent = type(bank.db).execute, []

    async def dying(self: Any, statement: Statement, args: Any = (), **more: Any) -> int:
        if sent:
            raise RuntimeError
        sent.append(statement)
        return await execute(self, statement, args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(bank.db), "execute", dying)
        with pytest.raises(RuntimeError):
            await sealer.seal_once()
    assert await log.anchor() is None
    assert await sealer.seal_once() == 12
    assert (await log.verify()).ok


async def test_an_erasure_leaves_the_seals_as_they_are(bank, accounts, sealer, log):
    with acting_as("ann"):
        first = await accounts.insert(account(1))
        await accounts.update(first.id, {"status": "open"})
    await finished(bank)
    await sealer.seal_all()
    with acting_as("ann"):
        await accounts.update(first.id, {"status": "closed"})
    assert await log.forget_actor("ann") == 1
    assert await log.forget_values("Account", [first.id]) == 3
    report = await log.verify()
    assert report.ok
    assert report.without_salt == 3
    await finished(bank)
    await sealer.seal_all()
    assert (await log.verify()).ok


async def test_a_timber_seals_by_itself(audited_url, bank, log):
    async with Timber(
        audited_url, registry=REGISTRY, audit_key=KEY, audit_seal_every=0.02
    ) as timber:
        await rows_of(timber, "Account").insert(account(1))
        async with asyncio.timeout(20):
            while await log.anchor() is None:
                await asyncio.sleep(0.02)
    assert (await log.verify()).sealed_rows == 1


async def test_a_worker_seals_too_and_says_what_is_left(bank, accounts, log):
    await accounts.insert_many([account(n) for n in range(3)])
    await finished(bank)
    told: list[tuple[str, int]] = []
    background = bank.background(report=lambda name, number: told.append((name, number)))
    figures = (await background.figures())["audit"]
    assert figures["unsealed_rows"] == 3
    assert figures["oldest_seconds"] > 0
    assert await background.run_once() == {"audit": 3}
    assert told == [("audit", 3)]
    await accounts.insert(account(9))
    assert await background.run_once() == {"audit": 0}, "it is too early for another seal"
    assert (await background.figures())["audit"]["unsealed_rows"] == 1
    assert (await log.verify()).ok


async def test_a_sealer_goes_on_after_a_failure_and_ends_with_its_database(
    bank, sealer, log, monkeypatch, caplog
):
    accounts = rows_of(bank, "Account")
    await accounts.insert(account(1))
    await finished(bank)
    seal, failures = sealer.seal_once, [UnavailableError("gone")]

    async def failing() -> int:
        if failures:
            raise failures.pop()
        return await seal()

    monkeypatch.setattr(sealer, "seal_once", failing)
    task = asyncio.create_task(sealer.run(every=0.01))
    async with asyncio.timeout(20):
        while await log.anchor() is None:
            await asyncio.sleep(0.01)
    assert caplog.messages == ["The audit could not be sealed: gone"]
    await bank.close()
    await asyncio.wait_for(task, 10)


_AHEAD = "UPDATE timber_audit SET transaction_id = transaction_id + 1000000 WHERE transaction_id < 1000000"
_HORIZON_AHEAD = Statement(
    "SELECT pg_snapshot_xmin(s)::text::bigint + 1000000 AS finished, pg_snapshot_xmax(s)::text::bigint + 1000000 AS next"
    " FROM pg_current_snapshot() AS s",
    label="",
)


async def test_after_a_restore_on_another_server_a_new_era_begins(
    bank, sealer, log, audited_url, monkeypatch
):
    accounts = rows_of(bank, "Account")
    await accounts.insert(account(1))
    await accounts.insert(account(2))
    await finished(bank)
    # As if all this came from a server that had counted a million transactions more.
    await tamper(audited_url, _AHEAD)
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_HORIZON", _HORIZON_AHEAD)
        assert await sealer.seal_all() == 2
        await accounts.insert(account(3))
        await tamper(audited_url, _AHEAD)
        assert (await log.verify()).ok
    report = await log.verify()
    assert report.ok
    assert (report.sealed_rows, report.unsealed_rows) == (2, 1)
    await accounts.insert(account(4))
    report = await log.verify()
    assert report.ok
    assert (report.sealed_rows, report.unsealed_rows) == (2, 2)
    await finished_here(bank)
    assert await sealer.seal_all() == 2
    assert await sealer.seal_all() == 0
    await accounts.insert(account(5))
    await finished_here(bank)
    assert await sealer.seal_all() == 1
    report = await log.verify()
    assert report.ok
    assert (report.seals, report.sealed_rows, report.unsealed_rows) == (4, 5, 0)
    for number in range(1, 6):
        changed = f"UPDATE timber_audit SET model = %s WHERE id = (SELECT min(id) + {number - 1} FROM timber_audit)"
        await tamper(audited_url, changed % "'Other'")
        assert not (await log.verify()).ok
        await tamper(audited_url, changed % "'Account'")
        assert (await log.verify()).ok


async def finished_here(timber: Timber) -> None:
    """As ``finished``, without what another server has written."""
    await finished(timber, "transaction_id < 1000000")


async def test_an_old_key_still_proves_what_it_has_sealed(bank, accounts, sealer, log, audited_url):
    made = await accounts.insert(account(1, balance=7))
    await finished(bank)
    await sealer.seal_all()
    new = "another-key-that-is-used-from-now-on"
    async with Timber(
        audited_url, registry=REGISTRY, audit_key=f"{new}, {KEY}", audit_seal_every=None
    ) as timber:
        await rows_of(timber, "Account").update(made.id, {"balance": 8})
        await finished(timber)
        assert await Sealer(timber.db, AuditKeys([new, KEY])).seal_all() == 1
        assert (await timber.audit.verify()).ok
        newer, older = (await timber.audit.history("Account", made.id)).items
        assert timber.audit.proves(newer, "balance", 8)
        assert timber.audit.proves(older, "balance", 7)
        assert newer.key_id != older.key_id
