"""A connection lost under a lone statement: what can be known is found out, nothing happens twice, the rest is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from tests.harness.proxy import Direction, Proxy
from tests.repository.conftest import Clock, MakeDb, repository
from tests.repository.models import InvoiceDTO, JobDTO, SignedDTO, TicketDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import Check, Verdict, outcome_of
from timber.database.statements import Statement
from timber.errors import CommitOutcomeUnknownError
from timber.repository import Repository

CUTS = 8
"""How many places in each direction a statement is cut at, its ends among them."""

Invoices = Repository[InvoiceDTO]


class Scene(NamedTuple):
    """A manager behind a proxy, and one beside it."""

    proxy: Proxy
    rows: Invoices
    beside: Invoices


@pytest.fixture
async def scene(
    make_db: MakeDb, tables_url: str, invoices: Invoices, clock: Clock
) -> AsyncGenerator[Scene]:
    async with Proxy(tables_url) as proxy:
        db = make_db(proxy.url, pool_size=1, max_overflow=1)
        rows = repository(db, "Invoice", InvoiceDTO)
        yield Scene(proxy, rows, invoices)
        await db.dispose()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if proxy.open_connections == 0:
                break


Work = Callable[[Invoices, Any], Awaitable[Any]]
Prepare = Callable[[Invoices], Awaitable[Any]]


async def _one(rows: Invoices) -> Any:
    return (await rows.insert(invoice(str(uuid4())))).id


async def _none(_rows: Invoices) -> Any:
    return uuid4()


async def _each_cut(scene: Scene, prepare: Prepare, work: Work) -> AsyncGenerator[tuple[Any, Any]]:
    """Do the work with its connection cut at one place after the other; what it was done to, and its result or error."""
    for _ in range(
        2
    ):  # the second time everything is prepared, and only the statement itself goes over the line
        before = dict(scene.proxy.passed)
        await work(
            scene.rows,
            await prepare(scene.rows) if prepare is _none else await prepare(scene.beside),
        )
    passed: dict[Direction, int] = {
        direction: scene.proxy.passed[direction] - before.get(direction, 0)
        for direction in ("to_server", "to_client")
    }
    for direction, total in passed.items():
        for count in sorted({round(total * cut / (CUTS - 1)) for cut in range(CUTS)}):
            thing = await prepare(scene.beside)
            await work(scene.rows, await prepare(scene.beside))
            scene.proxy.cut_after(count, direction)
            try:
                result = await work(scene.rows, thing)
            except CommitOutcomeUnknownError as error:
                result = error
            scene.proxy.heal()
            yield thing, result


async def test_an_insert_happens_once_wherever_its_connection_is_cut(scene: Scene) -> None:
    async def insert(rows: Invoices, key: Any) -> InvoiceDTO:
        return await rows.insert(invoice(str(key)), id=key)

    async for key, result in _each_cut(scene, _none, insert):
        assert isinstance(result, InvoiceDTO)
        assert await scene.beside.get(key) == result
        assert await scene.beside.count(number=str(key)) == 1


async def test_an_insert_with_a_key_made_here_happens_once(scene: Scene) -> None:
    async def insert(rows: Invoices, number: Any) -> InvoiceDTO:
        return await rows.insert(invoice(str(number)))

    async for number, result in _each_cut(scene, _none, insert):
        assert isinstance(result, InvoiceDTO)
        assert await scene.beside.find(number=str(number)) == [result]


async def test_a_copy_happens_once_wherever_its_connection_is_cut(scene: Scene) -> None:
    async def insert(rows: Invoices, name: Any) -> list[UUID]:
        return await rows.insert_many(
            invoice(f"{n} {name}"[:40], customer=str(name)) for n in range(20)
        )

    async for name, result in _each_cut(scene, _none, insert):
        assert isinstance(result, list)
        found = await scene.beside.find(customer=str(name), order_by="id")
        assert [row.id for row in found] == sorted(result)
        assert len(found) == 20


async def test_returned_rows_are_inserted_once(scene: Scene) -> None:
    async def insert(rows: Invoices, name: Any) -> list[InvoiceDTO]:
        return await rows.insert_many_returning(
            invoice(f"{n} {name}"[:40], customer=str(name), tags=["x"]) for n in range(5)
        )

    async for name, result in _each_cut(scene, _none, insert):
        assert isinstance(result, list)
        assert await scene.beside.find(customer=str(name), order_by="number") == result


async def test_an_update_from_a_version_happens_once(scene: Scene) -> None:
    async def update(rows: Invoices, key: Any) -> InvoiceDTO:
        return await rows.update(key, {"details": {"a": 1}}, merge=["details"], expected_version=1)

    async for key, result in _each_cut(scene, _one, update):
        assert isinstance(result, InvoiceDTO)
        assert await scene.beside.get(key) == result
        assert (result.version, result.details) == (2, {"a": 1})


async def test_an_update_is_recognised_by_its_token_or_unknown(scene: Scene) -> None:
    async def update(rows: Invoices, key: Any) -> InvoiceDTO:
        return await rows.update(key, {"note": "x"})

    recognised = unknown = 0
    async for key, result in _each_cut(scene, _one, update):
        stored = await scene.beside.get(key)
        if isinstance(result, InvoiceDTO):
            recognised += 1
            assert (result, result.version, result.note) == (stored, 2, "x")
        else:
            # It never got there; but another one could have come after it.
            unknown += 1
            assert outcome_of(result) == "unknown"
            assert stored.version == 1
    assert recognised
    assert unknown


async def test_a_deletion_happens(scene: Scene) -> None:
    async def soft(rows: Invoices, key: Any) -> None:
        await rows.delete(key)

    async def hard(rows: Invoices, key: Any) -> None:
        await rows.delete(key, hard=True)

    async for key, result in _each_cut(scene, _one, soft):
        assert result is None
        assert (await scene.beside.get(key, include_deleted=True)).version == 2
    async for key, result in _each_cut(scene, _one, hard):
        assert result is None
        assert await scene.beside.get_or_none(key, include_deleted=True) is None


async def test_an_upsert_is_recognised_by_its_token_or_unknown(scene: Scene) -> None:
    async def change(rows: Invoices, key: Any) -> InvoiceDTO:
        return await rows.upsert({**invoice(str(key), note="x"), "id": key})

    async for key, result in _each_cut(scene, _none, change):
        assert isinstance(result, InvoiceDTO)
        assert await scene.beside.find(id=key) == [result]
        assert result.version == 1
    outcomes = set()
    async for key, result in _each_cut(scene, _one, change):
        stored = await scene.beside.get(key)
        assert stored.version == (2 if isinstance(result, InvoiceDTO) else 1)
        outcomes.add(type(result))
    assert outcomes == {InvoiceDTO, CommitOutcomeUnknownError}


async def test_changes_by_filters_are_unknown(scene: Scene) -> None:
    async def update(rows: Invoices, key: Any) -> int:
        return await rows.update_where({"note": "x"}, id=key)

    seen = set()
    async for key, result in _each_cut(scene, _one, update):
        if isinstance(result, int):
            assert (result, (await scene.beside.get(key)).version) == (1, 2)
        else:
            seen.add((await scene.beside.get(key)).version)
    assert seen == {1, 2}


async def test_reads_are_repeated(scene: Scene) -> None:
    async def read(rows: Invoices, key: Any) -> Any:
        return await rows.find(id=key)

    async for key, result in _each_cut(scene, _one, read):
        assert [row.id for row in result] == [key]


# What each look at the tables says


async def _ask(db: AsyncDatabaseManager, check: Check | None) -> Verdict:
    assert check is not None
    return await check(db.fetch)


async def test_a_row_under_the_key_is_ours_if_it_was_made_when_ours_was(
    invoices: Invoices, db: AsyncDatabaseManager, clock: Clock
) -> None:
    key = uuid4()
    values = invoice()
    ours = invoices._rows.new(values, key)
    check = invoices._proof_of_insert(ours, values, key)
    assert await _ask(db, check) == ("rolled_back", ())
    clock.tick()
    await invoices.insert(invoice(user="somebody else"), id=key)
    assert await _ask(db, check) == ("rolled_back", ())
    clock.now = ours["created_at"]
    await invoices.delete(key, hard=True)
    stored = await invoices.insert(values, id=key)
    await invoices.delete(key)
    verdict, rows = await _ask(db, check)
    assert verdict == "committed"
    assert rows[0]["id"] == stored.id


async def test_without_a_time_a_row_under_a_given_key_is_ours_if_it_is_the_same(
    db: AsyncDatabaseManager,
) -> None:
    events = repository(db, "Flat")
    key = uuid4()
    values = {"text": "a", "big": 5, "data": {"a": 1}}
    given = events._proof_of_insert(events._rows.new(values, key), values, key)
    made = events._proof_of_insert({**events._rows.new(values), "id": key}, values, None)
    assert await _ask(db, given) == await _ask(db, made) == ("rolled_back", ())
    await events.insert(values, id=key)
    assert (await _ask(db, given))[0] == (await _ask(db, made))[0] == "committed"
    await events.update(key, {"big": 6})
    assert (await _ask(db, given))[0] == "unknown"
    assert (await _ask(db, made))[0] == "committed"


async def test_a_row_whose_key_postgresql_makes_cannot_be_asked_for(
    tickets: Repository[TicketDTO],
) -> None:
    values = {"title": "a"}
    assert tickets._proof_of_insert(tickets._rows.new(values), values, None) is None


async def test_an_update_is_ours_by_its_token_else_by_the_version_it_was_made_from(
    invoices: Invoices, db: AsyncDatabaseManager
) -> None:
    row = await invoices.insert(invoice())
    look = Statement("SELECT version_token FROM invoices WHERE id = $1", label="look")
    expecting = invoices._proof_of_update(row.id, 7, 1)
    blind = invoices._proof_of_update(row.id, 7, None)
    assert (await _ask(db, expecting))[0] == "rolled_back"  # it still is at version 1
    assert (await _ask(db, blind))[0] == "unknown"
    await invoices.update(row.id, {"note": "another one"})
    assert (await _ask(db, expecting))[0] == "rolled_back"  # the next one was somebody else's
    ours = (await db.fetch(look, [row.id]))[0]["version_token"]
    assert (await _ask(db, invoices._proof_of_update(row.id, ours, 1)))[0] == "committed"
    await invoices.delete(row.id)
    # What leaves the token takes nothing from the proof.
    assert (await _ask(db, invoices._proof_of_update(row.id, ours, None)))[0] == "committed"
    assert (await _ask(db, expecting))[0] == "unknown"  # ours may have been overwritten
    await invoices.delete(row.id, hard=True)
    assert (await _ask(db, expecting))[0] == "unknown"


async def test_a_model_without_versions_has_no_proof_of_updates(
    signed: Repository[SignedDTO], jobs: Repository[JobDTO]
) -> None:
    assert signed._proof_of_update(uuid4(), None, None) is None
    assert signed._proof_of_upsert(signed._rows.new({"code": "1"}), ("code",)) is None
