"""Plans of SQL texts, also of those whose parameters have no values: what PostgreSQL would do for any of them."""

from __future__ import annotations

from typing import Any, Final

from timber.database.monitoring import Plan

_NAME: Final = "timber_explained"


async def generic_plan(driver: Any, sql: str, *, with_scans: bool = True) -> Plan:
    """The generic plan of one statement, which is not run; no value is needed, so none can be seen in it.

    Args:
        driver: the driver's connection, outside of a transaction.
        with_scans: whether a table may be read whole where an index would serve too.

    Raises:
        asyncpg.PostgresError: it is not a statement that PostgreSQL has plans for, or more than one.
    """
    parsed = await driver.prepare(sql)  # refuses several statements, which the next step would run
    number = len(parsed.get_parameters())
    nulls = f"({', '.join(['NULL'] * number)})" if number else ""
    # EXPLAIN (GENERIC_PLAN) is PostgreSQL 16's; this is the same for 15.
    await driver.execute(f"PREPARE {_NAME} AS {sql}")
    try:
        async with driver.transaction(readonly=True):
            await driver.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            if not with_scans:
                await driver.execute("SET LOCAL enable_seqscan = off")
            return Plan.parse(
                await driver.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {_NAME}{nulls}")
            )
    finally:
        await driver.execute(f"DEALLOCATE {_NAME}")


async def plan_of(driver: Any, sql: str, *, analyze: bool = False, with_scans: bool = True) -> Plan:
    """The plan of one statement without parameters.

    Args:
        analyze: run it, for real times and row counts; what it wrote is rolled back.

    Raises:
        asyncpg.PostgresError: PostgreSQL has no plan for it, or it failed.
    """
    words = "FORMAT JSON, ANALYZE, BUFFERS" if analyze else "FORMAT JSON"
    transaction = driver.transaction()
    await transaction.start()
    try:
        if not with_scans:
            await driver.execute("SET LOCAL enable_seqscan = off")
        return Plan.parse(await driver.fetchval(f"EXPLAIN ({words}) {sql}"))
    finally:
        await transaction.rollback()
