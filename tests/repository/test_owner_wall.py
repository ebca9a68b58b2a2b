"""With an owner, somebody else's row is exactly like a missing one, whatever the verb."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from tests.repository.conftest import Sent
from tests.repository.models import InvoiceDTO, ThingDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.errors import NotFoundError, UsageError, ValidationError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


class Outcome(NamedTuple):
    """What a call gave or raised, comparable between a foreign row and a missing one."""

    result: Any
    error: str | None = None


async def _stream(rows: Invoices, owner: Any, key: Any) -> Any:
    async with rows.stream(id=key, owner=owner) as found:
        return [row.id async for row in found]


async def _lock(rows: Invoices, owner: Any, key: Any) -> Any:
    async with rows.db.unit_of_work():
        return (await rows.for_update(key, owner=owner)).id


async def _keys(found: Awaitable[Any]) -> Any:
    return [row.id for row in await found]


Verb = Callable[[Invoices, Any, Any], Awaitable[Any]]

READS: dict[str, Verb] = {
    "get": lambda r, o, k: _id(r.get(k, owner=o)),
    "get_or_none": lambda r, o, k: _id(r.get_or_none(k, owner=o)),
    "get_many": lambda r, o, k: _keys(r.get_many([k], owner=o)),
    "find": lambda r, o, k: _keys(r.find(id=k, owner=o)),
    "find_one": lambda r, o, k: _id(r.find_one(id=k, owner=o)),
    "page": lambda r, o, k: _items(r.page(id=k, owner=o)),
    "scroll": lambda r, o, k: _items(r.scroll(id=k, owner=o)),
    "stream": _stream,
    "count": lambda r, o, k: r.count(id=k, owner=o),
    "count_by": lambda r, o, k: r.count_by("id", id=k, owner=o),
    "exists": lambda r, o, k: r.exists(id=k, owner=o),
    "for_update": _lock,
}
WRITES: dict[str, Verb] = {
    "update": lambda r, o, k: _id(r.update(k, {"note": "x"}, owner=o)),
    "update, merging": lambda r, o, k: _id(
        r.update(k, {"details": {"a": 1}}, merge=["details"], owner=o)
    ),
    "update at a version": lambda r, o, k: _id(
        r.update(k, {"note": "x"}, expected_version=1, owner=o)
    ),
    "update at an old version": lambda r, o, k: _id(
        r.update(k, {"note": "x"}, expected_version=7, owner=o)
    ),
    "update nothing": lambda r, o, k: _id(r.update(k, {}, owner=o)),
    "update nothing at a version": lambda r, o, k: _id(
        r.update(k, {}, expected_version=1, owner=o)
    ),
    "update_where": lambda r, o, k: r.update_where({"note": "x"}, id=k, owner=o),
    "delete": lambda r, o, k: r.delete(k, owner=o),
    "hard delete": lambda r, o, k: r.delete(k, hard=True, owner=o),
    "delete_where": lambda r, o, k: r.delete_where(id=k, owner=o),
    "hard delete_where": lambda r, o, k: r.delete_where(id=k, hard=True, owner=o),
    "restore": lambda r, o, k: _id(r.restore(k, owner=o)),
}


async def _id(found: Awaitable[Any]) -> Any:
    row = await found
    return None if row is None else row.id


async def _items(found: Awaitable[Any]) -> Any:
    return [row.id for row in (await found).items]


async def _try(verb: Verb, rows: Invoices, owner: object, key: object) -> Outcome:
    try:
        return Outcome(await verb(rows, owner, key))
    except NotFoundError as error:
        return Outcome(None, str(error))


@pytest.mark.parametrize("verb", READS | WRITES)
async def test_somebody_elses_row_is_like_a_missing_one(invoices: Invoices, verb: str) -> None:
    row = await invoices.insert(invoice(user="ann"))
    call = (READS | WRITES)[verb]
    for foreign in ("bob", "", "Ann", "ann ", "%"):
        assert await _try(call, invoices, foreign, row.id) == await _try(
            call, invoices, foreign, uuid4()
        )
        assert await invoices.get(row.id) == row
    if verb == "update at an old version":
        return
    own = await _try(call, invoices, "ann", row.id)
    assert own.error is None
    assert own != await _try(call, invoices, "ann", uuid4()) or verb.endswith("delete")


@pytest.mark.parametrize("verb", READS | WRITES)
@pytest.mark.parametrize("owner", [5, b"ann", ["ann"], "x" * 256, "a\0", "\ud800", True])
async def test_an_owner_that_is_no_user_id_is_refused_before_any_sql(
    invoices: Invoices, sent: Sent, verb: str, owner: object
) -> None:
    with pytest.raises(ValidationError) as refused:
        await (READS | WRITES)[verb](invoices, owner, uuid4())
    assert refused.value.errors[0].field == "user_id"
    assert not [sql for sql in sent if "invoices" in sql]


async def test_a_claim_keeps_to_its_owner(articles: Repository[Any], sent: Sent) -> None:
    with pytest.raises(UsageError, match="claimed_until"):
        await articles.release(uuid4(), owner="ann")
    assert sent == []


@pytest.mark.parametrize("verb", READS)
async def test_a_model_without_an_owner_cannot_be_narrowed(
    things: Repository[ThingDTO], sent: Sent, verb: str
) -> None:
    if verb == "count_by":
        call: Awaitable[Any] = things.count_by("number", owner="ann")
    else:
        call = READS[verb](things, "ann", 1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no owner"):
        await call
    assert not [sql for sql in sent if "things" in sql]


def test_every_verb_that_takes_an_owner_is_held_here() -> None:
    """A new one cannot be forgotten."""
    elsewhere = {"search", "claim", "release", "add_links", "remove_links", "set_links"}
    elsewhere |= {"count_by_time", "finish"}  # beside what keeps times and rounds
    takes = {
        name
        for name, verb in inspect.getmembers(Repository, inspect.isfunction)
        if not name.startswith("_") and "owner" in inspect.signature(verb).parameters
    }
    held = {name.split()[-1].strip(",") for name in READS | WRITES} & takes
    held |= {"update"}
    assert takes - elsewhere == held


async def test_an_insert_says_whose_the_row_is(
    invoices: Invoices, db: AsyncDatabaseManager
) -> None:
    with pytest.raises(ValidationError, match="user_id"):
        await invoices.insert({"number": "1", "customer": "Acme"})
    row = await invoices.insert(invoice(user="bob"))
    assert row.user_id == "bob"
    assert isinstance(row.id, UUID)
