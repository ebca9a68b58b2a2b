from __future__ import annotations

from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.services.invoices import YAML, InvoiceRead, InvoiceService, write_models
from timber import (
    DTO,
    ConfigurationError,
    ConflictError,
    InputDTO,
    ModelRegistry,
    NotFoundError,
    Service,
    SessionDTO,
    SessionService,
    StaleDataError,
    Timber,
    UsageError,
    ValidationError,
)
from timber.database.manager import AsyncDatabaseManager

NEW = {"user_id": "user-1", "number": "R-1", "amount": Decimal("10.50")}


@pytest.fixture
async def shop(fresh_database_url: str, tmp_path) -> AsyncGenerator[Timber]:
    async with Timber(fresh_database_url, model_config_dirs=[write_models(tmp_path)]) as timber:
        await timber.db.create_all_tables()
        yield timber


@pytest.fixture
def invoices(shop: Timber) -> Service[Any]:
    return shop.service("Invoice")


async def test_a_configured_model_has_every_verb(invoices):
    invoice = await invoices.create(NEW)
    assert type(invoice).__name__ == "InvoiceRead"
    assert (invoice.number, invoice.amount, invoice.details) == ("R-1", Decimal("10.50"), {})
    keys = await invoices.create_many({**NEW, "number": f"R-{n}"} for n in range(2, 5))
    assert len(keys) == 3
    assert await invoices.get(invoice.id) == invoice
    assert await invoices.get_or_none(uuid4()) is None
    with pytest.raises(NotFoundError):
        await invoices.get(uuid4())
    where = invoices.repository.where
    found = await invoices.list(where.number > "R-2", order_by="number", user_id="user-1")
    assert [item.number for item in found] == ["R-3", "R-4"]
    page = await invoices.page(per_page=3)
    assert (len(page.items), page.total) == (3, 4)
    changed = await invoices.update(invoice.id, {"note": "paid late"}, expected_version=1)
    assert (changed.note, changed.version) == ("paid late", 2)
    with pytest.raises(StaleDataError):
        await invoices.update(invoice.id, {"note": "?"}, expected_version=1)
    merged = await invoices.update(invoice.id, {"details": {"a": 1}}, merge=["details"])
    assert merged.details == {"a": 1}
    stored = await invoices.upsert({**NEW, "amount": 12}, on=["number"])
    assert (stored.id, stored.amount) == (invoice.id, Decimal("12.00"))
    assert (await invoices.upsert({**NEW, "number": "R-9"}, on=["number"])).version == 1
    [hit] = await invoices.search("paid")
    assert hit.item.id == invoice.id
    await invoices.delete(invoice.id)
    assert await invoices.count() == 4
    assert not await invoices.exists(number="R-1")
    assert await invoices.count(include_deleted=True) == 5
    assert (await invoices.restore(invoice.id)).note == "paid late"
    async with invoices.stream(order_by="number") as stream:
        assert [item.number async for item in stream] == ["R-1", "R-2", "R-3", "R-4", "R-9"]
    await invoices.delete(invoice.id, hard=True)
    assert not await invoices.exists(number="R-1", include_deleted=True)


async def test_ownership_is_a_wall(invoices):
    invoice = await invoices.create(NEW)
    assert await invoices.get_or_none(invoice.id, owner="user-2") is None
    for call in (
        invoices.get(invoice.id, owner="user-2"),
        invoices.update(invoice.id, {"note": "mine"}, owner="user-2"),
        invoices.delete(invoice.id, owner="user-2"),
        invoices.restore(invoice.id, owner="user-2"),
    ):
        with pytest.raises(NotFoundError):
            await call
    assert await invoices.list(owner="user-2") == []
    with pytest.raises(ConflictError):
        await invoices.upsert({**NEW, "user_id": "user-2"}, on=["number"])
    assert await invoices.get(invoice.id, owner="user-1") == invoice


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({**NEW, "nmber": "R-2"}, "nmber"),
        ({**NEW, "number": 7}, "number"),
        ({**NEW, "number": "x" * 21}, "number"),
        ({**NEW, "version": 9}, "version"),
        ({**NEW, "deleted_at": None}, "deleted_at"),
        ({"user_id": "user-1", "amount": 1}, "number"),
        ("R-1", "values"),
    ],
)
async def test_what_a_caller_may_not_set_is_refused_by_name(invoices, values, field):
    with pytest.raises(ValidationError) as caught:
        await invoices.create(values)
    assert [problem.field for problem in caught.value.errors] == [field]
    with pytest.raises(ValidationError) as caught:
        await invoices.create_many([NEW, values])
    assert [problem.field for problem in caught.value.errors] == [f"1.{field}"]
    assert await invoices.count() == 0


@pytest.mark.parametrize("field", ["user_id", "id", "version", "created_at", "nonsense"])
async def test_what_a_caller_may_not_change_is_refused_by_name(invoices, field):
    invoice = await invoices.create(NEW)
    with pytest.raises(ValidationError) as caught:
        await invoices.update(invoice.id, {field: "user-2"})
    assert [problem.field for problem in caught.value.errors] == [field]


async def test_the_defaults_of_a_users_own_input_count(invoices):
    class Draft(InputDTO):
        user_id: str
        number: str
        amount: int = 1
        note: str | None = None
        id: UUID | None = None

    invoice = await invoices.create(Draft(user_id="user-1", number="D-1"))
    assert (invoice.amount, invoice.note) == (1, None)


async def test_a_subclass_adds_methods_and_types_its_rows(shop):
    invoices = shop.service(InvoiceService)
    assert shop.service(InvoiceService) is invoices
    invoice = await invoices.create(NEW)
    assert type(invoice) is InvoiceRead
    await invoices.create({**NEW, "number": "R-2", "amount": "0.50"})
    assert await invoices.total("user-1") == Decimal("11.00")
    assert invoices.logger.name == "tests.services.invoices.InvoiceService"


async def test_a_service_works_without_a_timber(shop):
    invoices = InvoiceService(shop.db, registry=shop.registry)
    assert (await invoices.create(NEW)).number == "R-1"
    sessions = SessionService(shop.db)
    assert (await sessions.create_session("user-1", "research")).status == "active"


async def test_the_built_in_models_are_served_by_their_own_services(shop):
    assert shop.service("Session") is shop.sessions
    assert shop.service("ResearchData") is shop.research
    assert shop.service("Invoice") is shop.service("Invoice")
    with pytest.raises(ConfigurationError, match="Invoice"):
        shop.service("Invioce")


async def test_a_built_in_model_can_be_extended(fresh_database_url, tmp_path):
    (tmp_path / "more.yaml").write_text(
        "version: 1\nmodels:\n  - extends: Session\n    columns:\n"
        "      - {name: team, type: String(50)}\n"
    )

    class MySession(SessionDTO):
        team: str | None

    async with Timber(fresh_database_url, model_config_dirs=[tmp_path]) as timber:
        await timber.db.drop_all_tables()
        await timber.db.create_all_tables()
        sessions = timber.service(SessionService[MySession])
        session = await sessions.create(
            {"user_id": "user-1", "session_type": "research", "team": "red"}
        )
        assert type(session) is MySession
        assert session.team == "red"
        assert (await sessions.update(session.id, {"team": "blue"})).team == "blue"
        assert (await sessions.complete_session(session.id)).team == "blue"
        assert type(await timber.sessions.get_session(session.id)) is SessionDTO
        assert SessionService[MySession] is SessionService[MySession]


async def test_a_service_that_names_no_model_is_refused(db: AsyncDatabaseManager):
    class Nameless(Service[SessionDTO]):
        pass

    with pytest.raises(ConfigurationError, match="Nameless does not say"):
        Nameless(db)


async def test_a_dto_that_does_not_fit_is_refused_at_the_start(db: AsyncDatabaseManager):
    class Wrong(DTO):
        id: UUID
        colour: str

    with pytest.raises(ConfigurationError, match="colour"):
        SessionService(db, dto=Wrong)


async def test_a_feature_that_nobody_provides_is_refused(fresh_database_url, tmp_path):
    (tmp_path / "secret.yaml").write_text(YAML + "      encryption: {columns: [details]}\n")
    with pytest.raises(ConfigurationError, match="Invoice declares encryption"):
        await Timber(fresh_database_url, model_config_dirs=[tmp_path]).start()
    manager = AsyncDatabaseManager(fresh_database_url)
    with pytest.raises(ConfigurationError, match="Invoice declares encryption"):
        InvoiceService(manager, registry=ModelRegistry(dirs=[tmp_path]))
    await manager.dispose()


async def test_a_model_without_search_says_so(timber):
    with pytest.raises(UsageError, match="search"):
        await timber.service("SessionEvent").search("word")
