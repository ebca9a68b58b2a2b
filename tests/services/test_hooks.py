from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from tests.services.invoices import InvoiceRead, write_models
from timber import (
    ConflictError,
    ModelRegistry,
    Service,
    SessionDTO,
    SessionService,
    Timber,
)

NEW = {"user_id": "user-1", "number": "R-1", "amount": 10}


class Watched(Service[InvoiceRead]):
    """Writes down each hook, and fails in the one it is told to."""

    model = "Invoice"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[str] = []
        self.fails_in: str | None = None

    def _see(self, hook: str) -> None:
        self.seen.append(hook)
        if hook == self.fails_in:
            raise ZeroDivisionError

    async def before_create(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        self._see("before_create")
        return {**values, "note": f"new {values['number']}"}

    async def after_create(self, dto: InvoiceRead) -> None:
        self._see("after_create")

    async def before_update(self, id: UUID, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        self._see("before_update")
        return {**changes, "note": "changed"}

    async def after_update(self, dto: InvoiceRead) -> None:
        self._see("after_update")

    async def before_delete(self, id: UUID) -> None:
        self._see("before_delete")

    async def after_delete(self, id: UUID) -> None:
        self._see("after_delete")


@pytest.fixture
async def shop(fresh_database_url, tmp_path):
    async with Timber(fresh_database_url, model_config_dirs=[write_models(tmp_path)]) as timber:
        await timber.db.create_all_tables()
        yield timber


@pytest.fixture
def watched(shop):
    return shop.service(Watched)


async def test_hooks_run_around_each_write_and_may_change_it(watched):
    invoice = await watched.create(NEW)
    assert invoice.note == "new R-1"
    invoice = await watched.update(invoice.id, {"amount": 2})
    assert (invoice.note, invoice.amount) == ("changed", 2)
    await watched.delete(invoice.id)
    await watched.restore(invoice.id)
    keys = await watched.create_many([{**NEW, "number": "R-2"}, {**NEW, "number": "R-3"}])
    assert [(await watched.get(key)).note for key in keys] == ["new R-2", "new R-3"]
    assert watched.seen == [
        *("before_create", "after_create"),
        *("before_update", "after_update"),
        *("before_delete", "after_delete"),
        *("before_update", "after_update"),
        *("before_create", "before_create", "after_create", "after_create"),
    ]


@pytest.mark.parametrize("hook", ["before_create", "after_create"])
@pytest.mark.parametrize("verb", ["create", "create_many"])
async def test_an_error_in_a_hook_undoes_the_new_row(watched, hook, verb):
    watched.fails_in = hook
    with pytest.raises(ZeroDivisionError):
        await getattr(watched, verb)(NEW if verb == "create" else [NEW])
    assert await watched.count() == 0


async def test_an_error_in_a_hook_undoes_a_change_and_a_deletion(watched):
    invoice = await watched.create(NEW)
    for hook, call in (
        ("before_update", lambda: watched.update(invoice.id, {"amount": 2})),
        ("after_update", lambda: watched.update(invoice.id, {"amount": 2})),
        ("before_delete", lambda: watched.delete(invoice.id)),
        ("after_delete", lambda: watched.delete(invoice.id, hard=True)),
    ):
        watched.fails_in = hook
        with pytest.raises(ZeroDivisionError):
            await call()
        assert await watched.get(invoice.id) == invoice


async def test_an_upsert_runs_the_hooks_of_what_it_turns_out_to_be(watched):
    first = await watched.upsert(NEW, on=["number"])
    assert watched.seen == ["before_create", "after_create"]
    watched.seen.clear()
    second = await watched.upsert({**NEW, "amount": 5}, on=["number"])
    assert (second.id, second.amount, second.note) == (first.id, 5, "changed")
    assert watched.seen == ["before_create", "before_update", "after_update"]
    await watched.delete(first.id)
    assert (await watched.upsert(NEW, on=["number"])).id == first.id
    assert await watched.exists(number="R-1")
    with pytest.raises(ConflictError, match="somebody else"):
        await watched.upsert({**NEW, "user_id": "user-2"}, on=["number"])


async def test_hooks_join_the_unit_of_work_around_them(shop, watched):
    uow = shop.unit_of_work()
    async with uow:
        await watched.create(NEW)
        assert shop.db.current() is uow
    assert await watched.count() == 1


async def test_without_hooks_there_is_no_transaction(shop, watched):
    statements = []
    shop.db.monitor.listeners.append(lambda label, sql, seconds: statements.append(sql))
    plain = shop.service("Invoice")
    invoice = await plain.create(NEW)
    await plain.update(invoice.id, {"amount": 2})
    await plain.delete(invoice.id)
    assert [sql.split()[0] for sql in statements] == ["INSERT", "UPDATE", "UPDATE"]


async def test_sessions_have_hooks_too(timber):
    seen = []

    class Sessions(SessionService[SessionDTO]):
        async def after_create(self, dto: SessionDTO) -> None:
            seen.append(("created", dto.status))

        async def after_update(self, dto: SessionDTO) -> None:
            seen.append(("updated", dto.status))

        async def after_delete(self, id: UUID) -> None:
            seen.append(("deleted", id))

    sessions = timber.service(Sessions)
    session = await sessions.create_session("user-1", "research")
    await sessions.update_session(session.id, metadata={"a": 1})
    await sessions.complete_session(session.id)
    await sessions.delete_session(session.id, "user-1")
    await sessions.restore_session(session.id, "user-1")
    assert seen == [
        ("created", "active"),
        ("updated", "active"),
        ("updated", "completed"),
        ("deleted", session.id),
        ("updated", "completed"),
    ]


async def test_a_registry_of_ones_own_is_used(db):
    registry = ModelRegistry()
    assert SessionService(db, registry=registry).registry is registry
