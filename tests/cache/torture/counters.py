"""Counters that only ever go up, and every way of turning them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from timber import Repository, StaleDataError, Timber
from timber.models import ModelConfig, ModelRegistry

REGISTRY = ModelRegistry(
    models=[
        ModelConfig.model_validate(
            {
                "name": "Counter",
                "table": "counters",
                "mixins": ["Version"],
                "columns": [
                    {"name": "id", "type": "Integer", "primary_key": True},
                    {"name": "shelf", "type": "Text", "nullable": False},
                    {"name": "n", "type": "BigInteger", "nullable": False},
                ],
                "features": {"cache": {"lists": ["shelf"]}},
            }
        )
    ]
)
COUNTER = REGISTRY.get_model("Counter")
SHELF = "all"

Turned = dict[int, int]
"""What counters stand at by key, once the write is acknowledged."""


class Counters:
    """The counters of one process."""

    def __init__(self, timber: Timber) -> None:
        self.timber = timber
        self.rows: Repository[Any] = timber.repository("Counter", REGISTRY.read_dto("Counter"))
        self.ways: list[Callable[[list[int]], Awaitable[Turned]]] = [
            self._alone,
            self._alone,
            self._in_a_unit,
            self._many,
            self._upsert,
            self._orm,
            self._orm_bulk,
            self._own_session,
        ]

    async def _alone(self, keys: list[int]) -> Turned:
        while True:
            row = await self.rows.get(keys[0], fresh=True)
            try:
                turned = await self.rows.update(
                    keys[0], {"n": row.n + 1}, expected_version=row.version
                )
            except StaleDataError:
                continue
            return {keys[0]: turned.n}

    async def _in_a_unit(self, keys: list[int]) -> Turned:
        turned: Turned = {}
        async with self.timber.unit_of_work() as unit:
            for key in keys:
                row = await self.rows.for_update(key)
                async with unit.savepoint():
                    turned[key] = (await self.rows.update(key, {"n": row.n + 1})).n
        return turned

    async def _many(self, keys: list[int]) -> Turned:
        async with self.timber.unit_of_work():
            n = max([(await self.rows.for_update(key)).n for key in keys]) + 1
            await self.rows.update_where({"n": n}, self.rows.where.id.in_(keys))
        return dict.fromkeys(keys, n)

    async def _upsert(self, keys: list[int]) -> Turned:
        async with self.timber.unit_of_work():
            row = await self.rows.for_update(keys[0])
            values = {"id": keys[0], "shelf": SHELF, "n": row.n + 1}
            turned = await self.rows.upsert(values, update=["n"])
        return {keys[0]: turned.n}

    async def _orm(self, keys: list[int]) -> Turned:
        turned: Turned = {}
        async with self.timber.unit_of_work() as unit:
            for key in keys:
                row: Any = await unit.session.get_one(COUNTER, key, with_for_update=True)
                row.n += 1
                turned[key] = row.n
        return turned

    async def _orm_bulk(self, keys: list[int]) -> Turned:
        async with self.timber.unit_of_work() as unit:
            for key in keys:
                await self.rows.for_update(key)
            turning = sa.update(COUNTER).where(COUNTER.id.in_(keys)).values(n=COUNTER.n + 1)
            found = await unit.session.execute(turning.returning(COUNTER.id, COUNTER.n))
            return {row.id: row.n for row in found}

    async def _own_session(self, keys: list[int]) -> Turned:
        async with self.timber.db.get_session() as session:
            row: Any = await session.get_one(COUNTER, keys[0], with_for_update=True)
            row.n += 1
            turned = {keys[0]: row.n}
            await session.commit()
        return turned
