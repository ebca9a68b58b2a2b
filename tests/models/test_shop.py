"""A project of twelve models in four files, on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tests.models.tables import created, insert, new_row, pgvector_or_skip
from timber.models import ModelRegistry


async def test_a_project_of_twelve_models_starts_and_keeps_its_rules(
    bare_database_url: str,
) -> None:
    await pgvector_or_skip(bare_database_url)
    registry = ModelRegistry(files=[Path(__file__).parent / "shop" / "after.yaml"])
    assert len(registry.list_models()) == len(ModelRegistry().list_models()) + 12
    async with created(bare_database_url, registry) as engine:

        async def add(model: str, /, **values: Any) -> sa.Row[Any]:
            return await insert(engine, registry.table(model), new_row(registry, model, values))

        customer = await add("Customer", email="a@example.org", name="A")
        assert (customer.country, customer.domain, customer.interests) == ("NO", "example.org", [])
        with pytest.raises(IntegrityError, match="ck_customers_country"):
            await add("Customer", email="b@example.org", name="B", country="de")
        session = await add("Session", user_id="u", session_type="research")
        assert session.basket == {"items": []}
        order = await add("Order", customer_id=customer.id, session_id=session.id)
        product = await add("Product", title="Lamp", price=5, attributes={"colour": "red"})
        assert (product.number, product.colour) == (1, "red")
        line = await add(
            "OrderLine", order_id=order.id, product_id=product.id, position=1, amount=3, price=5
        )
        assert line.total == 15
        await add("ProductMeaning", product_id=product.id, meaning=[0.5] * 8)
        await add("Review", product_id=product.id, user_id="u", stars=5)
        with pytest.raises(IntegrityError, match="ix_reviews_product_id_user_id"):
            await add("Review", product_id=product.id, user_id="u", stars=4)
        async with engine.begin() as connection:
            await connection.execute(sa.delete(registry.table("Session")))
            orders = registry.table("Order")
            assert (await connection.execute(sa.select(orders.c.session_id))).scalar_one() is None
            links = registry.association_table("product_categories")
            assert [column.name for column in links.c] == ["product_id", "category_slug"]
            await connection.run_sync(registry.metadata.drop_all)
