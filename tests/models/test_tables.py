"""The tables that models become, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tests.models.every_type import LENIENT, MODEL, TYPES, VALUES, plain
from tests.models.projects import registry_of
from tests.models.tables import created, insert, new_row, pgvector_or_skip
from tests.models.test_dtos import INVOICE
from tests.models.test_mapped_classes import Bill, BillRow, Label
from timber.models import ModelRegistry
from timber.models.values import column_adapter

RESERVED = """
  - name: Odd
    table: order
    mixins: [SoftDelete]
    columns:
      - {name: user, type: Text, unique: true}
      - {name: end, type: "Enum[a, b'c]", index: true}
      - {name: limit, type: "Array[Enum[x, y]]"}
      - {name: select, type: Text, generated: "\\"user\\" || ':' || 'x::y :z'"}
      - {name: default, type: Text, server_default: "'a:b'::text || ' :c'"}
      - {name: check, type: Integer, check: "\\"check\\" > 0 AND 'a:b' <> ':a'"}
      - {name: numbered, type: BigInteger, nullable: false, identity: true}
      - {name: payload, type: JSON}
    indexes:
      - {columns: [user desc nulls last, end], unique: true, include: [check], where: deleted_at IS NULL}
      - {columns: [limit], method: gin}
      - {columns: [numbered], method: brin, options: {pages_per_range: 32}}
    constraints:
      - {name: sane, check: "\\"end\\" <> 'b''c' OR \\"check\\" < 100"}
      - {unique: [end, check]}
    features:
      search: {weights: {user: A, payload: B}, column: words}
"""


async def test_everything_is_created_once_and_dropped_whole(
    bare_database_url: str, tmp_path: Path
) -> None:
    things = MODEL.removeprefix("models:\n")
    registry = registry_of(tmp_path, INVOICE + things + RESERVED, classes=[Bill, BillRow, Label])
    async with created(bare_database_url, registry) as engine:
        async with engine.begin() as connection:
            await connection.run_sync(registry.metadata.create_all)
            tables = await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
            assert set(tables) == set(registry.metadata.tables)
            await connection.run_sync(registry.metadata.drop_all)
            left = await connection.execute(
                sa.text("SELECT proname FROM pg_proc WHERE proname LIKE 'timber%'")
            )
            assert left.all() == []


async def test_names_that_sql_reserves_are_only_names(
    bare_database_url: str, tmp_path: Path
) -> None:
    registry = registry_of(tmp_path, "models:" + RESERVED, built_in=False)
    table = registry.table("Odd")
    async with created(bare_database_url, registry) as engine:
        row = await insert(
            engine,
            table,
            new_row(
                registry,
                "Odd",
                {"user": "u", "end": "b'c", "limit": ["x"], "check": 5, "payload": {"a": "deep"}},
            ),
        )
        assert row.select == "u:x::y :z"
        assert row.default == "a:b :c"
        assert row.numbered == 1
        assert row.words == "'deep':2B 'u':1A"
        for wrong, name in (
            ({"end": "d"}, "ck_order_end_labels"),
            ({"limit": ["x", "z"]}, "ck_order_limit_labels"),
            ({"check": 0}, "ck_order_check"),
            ({"end": "b'c", "check": 100}, "ck_order_sane"),
            ({"user": "u"}, "uq_order_user"),
            ({"end": "b'c", "check": 5}, "uq_order_end_check"),
        ):
            with pytest.raises(IntegrityError, match=name):
                await insert(engine, table, new_row(registry, "Odd", wrong))
        async with engine.connect() as connection:
            found = await connection.execute(
                sa.text(
                    "SELECT indexdef FROM pg_indexes WHERE tablename = 'order' ORDER BY indexdef"
                )
            )
            indexes = [definition.partition(" ON ")[2] for definition in found.scalars()]
        assert "public.\"order\" USING brin (numbered) WITH (pages_per_range='32')" in indexes
        assert (
            'public."order" USING btree ("user" DESC NULLS LAST, "end") INCLUDE ("check") WHERE (deleted_at IS NULL)'
            in indexes
        )


async def test_every_type_comes_back_as_it_went_in(bare_database_url: str, tmp_path: Path) -> None:
    registry = registry_of(tmp_path, MODEL, built_in=False)
    table, config = registry.table("Thing"), registry.model_config("Thing")
    adapters = {name: column_adapter(config.column(name)) for name in TYPES}
    read = registry.read_dto("Thing")
    loop = asyncio.get_running_loop()

    async with created(bare_database_url, registry) as engine:
        connection = await engine.connect()

        async def there_and_back(values: Mapping[str, Any]) -> sa.Row[Any]:
            row = new_row(registry, "Thing", values)
            result = await connection.execute(sa.insert(table).values(**row).returning(table))
            return result.one()

        @settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
        @given(st.fixed_dictionaries({name: st.none() | VALUES[name] for name in TYPES}))
        def every_value(values: dict[str, Any]) -> None:
            checked = {name: adapters[name].validate_python(v) for name, v in values.items()}
            row = asyncio.run_coroutine_threadsafe(there_and_back(checked), loop).result()
            dto = read.model_validate(row._asdict())
            for name, value in values.items():
                back = getattr(dto, name)
                if name in ("loose", "tight"):
                    assert plain(back) == plain(value), name
                else:
                    assert back == value, name
                    assert isinstance(back, type(value)), name

        try:
            await asyncio.to_thread(every_value)
            for name, pairs in LENIENT.items():
                for given_value, meant in pairs:
                    row = await there_and_back({name: adapters[name].validate_python(given_value)})
                    assert getattr(row, name) == meant
        finally:
            await connection.close()


def words(random_: random.Random, count: int) -> str:
    return " ".join("".join(random_.choices(string.ascii_lowercase, k=7)) for _ in range(count))


@pytest.mark.parametrize(
    "shape",
    [
        "one long text",
        pytest.param("many texts", marks=pytest.mark.slow),
        "one long word",
        "deep",
        pytest.param("symbols", marks=pytest.mark.slow),
        "nothing",
    ],
)
async def test_search_text_of_any_size_never_fails_the_write(
    database_url: str, clean_tables: None, shape: str
) -> None:
    source = random.Random(7)
    content: Any = {
        "one long text": {"text": "first " + words(source, 300_000)},
        "many texts": [f"first {words(source, 100)}" for _ in range(4_000)],
        "one long word": ["first", "x" * 3_000_000],
        "deep": json.loads('{"a":[' * 100 + '"first"' + "]}" * 100),
        "symbols": ["first", "\u0301" * 200_000, "🙂 " * 200_000, "<a href='x'>" * 50_000],
        "nothing": {},
    }[shape]
    registry = ModelRegistry()
    table = registry.table("ResearchData")
    async with created(database_url, registry) as engine:
        values = {"research_type": "test", "title": "A Title", "content": content}
        row = await insert(engine, table, new_row(registry, "ResearchData", values))
        async with engine.connect() as connection:

            async def found(query: str) -> int:
                condition = table.c.search_vector.op("@@")(sa.func.to_tsquery("simple", query))
                count = sa.select(sa.func.count()).where(condition, table.c.id == row.id)
                return int((await connection.execute(count)).scalar_one())

            assert await found("title:A") == 1
            assert await found("first:B") == (shape != "nothing")
            size = sa.select(sa.func.pg_column_size(table.c.search_vector)).where(
                table.c.id == row.id
            )
            if shape in ("one long text", "many texts"):
                # As much as a tsvector holds: more than nine tenths of its megabyte of words and positions.
                length = sa.select(sa.func.length(table.c.search_vector)).where(
                    table.c.id == row.id
                )
                assert int((await connection.execute(length)).scalar_one()) > 80_000
                assert int((await connection.execute(size)).scalar_one()) > 500_000


async def test_the_orm_reads_and_writes_the_mapped_classes(
    database_url: str, clean_tables: None
) -> None:
    registry = ModelRegistry()
    session_class, event_class = registry.get_model("Session"), registry.get_model("SessionEvent")
    async with created(database_url, registry) as engine:
        async with AsyncSession(engine, expire_on_commit=False) as orm:
            session = session_class(user_id="u", session_type="research", metadata={"symbol": "A"})
            event = event_class(from_status="active", to_status="paused")
            event.session = session
            orm.add(session)
            await orm.commit()
            session.status = "paused"
            await orm.commit()
            assert session.version == 2
            assert session.updated_at > session.created_at
            statement = sa.select(session_class).where(
                session_class.metadata["symbol"].astext == "A"
            )
            assert (await orm.execute(statement)).scalar_one() is session
            with pytest.raises(sa.exc.InvalidRequestError, match="raise"):
                _ = (await orm.get_one(session_class, session.id, populate_existing=True)).research
            await orm.delete(session)
            await orm.commit()
            left = await orm.execute(sa.select(sa.func.count()).select_from(event_class))
            assert left.scalar_one() == 0


async def test_a_vector_is_stored_and_given_back(bare_database_url: str, tmp_path: Path) -> None:
    await pgvector_or_skip(bare_database_url)
    text = "models: [{name: Passage, table: passages, columns: [{name: meaning, type: Vector(3)}]}]"
    registry = registry_of(tmp_path, text, built_in=False)
    table = registry.table("Passage")
    async with created(bare_database_url, registry) as engine:
        for meaning in ([1.0, 2.5, -3.0], None):
            row = await insert(engine, table, new_row(registry, "Passage", {"meaning": meaning}))
            assert row.meaning == meaning
