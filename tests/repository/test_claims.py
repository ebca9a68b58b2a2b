"""A table as a work queue: each row to one worker, for a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.repository.conftest import Clock, MakeDb, Sent, repository
from tests.repository.models import InvoiceDTO, JobDTO
from timber.database.manager import AsyncDatabaseManager
from timber.errors import UsageError, ValidationError
from timber.models import ModelConfig, ModelRegistry
from timber.repository import Repository

Jobs = Repository[JobDTO]
MINUTE = timedelta(minutes=1)


def _job(kind: str = "a", **values: Any) -> dict[str, Any]:
    return {"kind": kind, **values}


async def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(jobs: Jobs, clock: Clock) -> None:
    key = (await jobs.insert_many([_job()]))[0]
    claimed = await jobs.claim(limit=10, lease=MINUTE)
    assert [job.id for job in claimed] == [key]
    assert await jobs.claim(limit=10, lease=MINUTE) == []
    clock.tick(59)
    assert await jobs.claim(limit=10, lease=MINUTE) == []
    clock.tick(1)  # its worker has died
    assert await jobs.claim(limit=10, lease=MINUTE) == claimed


async def test_a_released_row_is_free_at_once(jobs: Jobs) -> None:
    key = (await jobs.insert_many([_job()]))[0]
    await jobs.claim(limit=1, lease=MINUTE)
    assert await jobs.release(key)
    assert await jobs.release(str(key))
    assert [job.id for job in await jobs.claim(limit=1, lease=MINUTE)] == [key]
    assert not await jobs.release(uuid4())


async def test_claims_go_by_filters_order_and_limit(jobs: Jobs, clock: Clock) -> None:
    for number in range(6):
        clock.tick()
        await jobs.insert(_job("ab"[number % 2], priority=number))
    # The oldest first, where nothing else is said.
    assert [job.priority for job in await jobs.claim(limit=2, lease=MINUTE)] == [0, 1]
    claimed = await jobs.claim(
        jobs.where.priority > 1, kind="b", limit=5, lease=MINUTE, order_by="-priority"
    )
    assert [job.priority for job in claimed] == [5, 3]
    claimed = await jobs.claim(limit=5, lease=MINUTE, order_by=("kind", "-priority"))
    assert [job.priority for job in claimed] == [4, 2]


async def test_eight_workers_share_the_rows_and_none_is_given_twice(make_db: MakeDb) -> None:
    managers = [make_db(pool_size=2) for _ in range(8)]
    queues: list[Jobs] = [repository(db, "Job", JobDTO) for db in managers]
    keys = await queues[0].insert_many(_job(priority=n % 3) for n in range(300))
    taken: list[list[Any]] = [[] for _ in queues]

    async def work(number: int) -> None:
        while jobs := await queues[number].claim(limit=7, lease=MINUTE, order_by="-priority"):
            taken[number] += [job.id for job in jobs]
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(8)))
    everything = [key for part in taken for key in part]
    assert sorted(everything) == sorted(keys)


async def test_a_claim_passes_over_rows_that_are_locked(
    jobs: Jobs, db: AsyncDatabaseManager, make_db: MakeDb
) -> None:
    first, second = await jobs.insert_many([_job(), _job()])
    elsewhere: Jobs = repository(make_db(), "Job", JobDTO)
    async with db.unit_of_work():
        await jobs.for_update(first)
        claimed = await elsewhere.claim(limit=5, lease=MINUTE)
    assert [job.id for job in claimed] == [second]


async def test_a_claim_that_is_rolled_back_is_none(jobs: Jobs, db: AsyncDatabaseManager) -> None:
    await jobs.insert_many([_job()])
    with pytest.raises(ZeroDivisionError):
        async with db.unit_of_work():
            assert len(await jobs.claim(limit=1, lease=MINUTE)) == 1
            raise ZeroDivisionError
    assert len(await jobs.claim(limit=1, lease=MINUTE)) == 1


async def test_deleted_rows_are_not_claimed_and_owners_keep_theirs(
    db: AsyncDatabaseManager,
) -> None:
    registry = ModelRegistry(
        models=[
            ModelConfig.model_validate(
                {
                    "name": "Task",
                    "table": "tasks",
                    "mixins": ["Owner", "SoftDelete"],
                    "columns": [{"name": "until", "type": "DateTime"}],
                }
            )
        ],
        built_in=False,
    )
    await db.create_all_tables(registry.metadata)
    tasks: Repository[Any] = Repository(db, registry.get_model("Task"), registry.read_dto("Task"))
    keys = await tasks.insert_many({"user_id": user} for user in ("ann", "bob", "ann"))
    await tasks.delete(keys[2])
    held = {"lease": MINUTE, "lease_column": "until"}
    claimed = await tasks.claim(limit=9, owner="ann", **held)
    assert [row.id for row in claimed] == [keys[0]]
    assert not await tasks.release(keys[0], owner="bob", lease_column="until")
    assert await tasks.release(keys[0], owner="ann", lease_column="until")
    claimed = await tasks.claim(limit=9, **held)
    assert [row.id for row in claimed] == keys[:2]
    assert {row.until for row in claimed} != {None}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"lease": timedelta()}, "lease"),
        ({"lease": -MINUTE}, "lease"),
        ({"lease": 60}, "lease"),
        ({"lease": None}, "lease"),
        ({"lease": timedelta.max}, "lease"),
        ({"order_by": "nope"}, "order_by"),
        ({"nope": 1}, "nope"),
        ({"kind": 5}, "kind"),
    ],
)
async def test_a_bad_claim_is_refused_before_any_sql(
    jobs: Jobs, sent: Sent, options: Any, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        await jobs.claim(**{"limit": 1, "lease": MINUTE, **options})
    assert refused.value.errors[0].field == field
    with pytest.raises(ValidationError):
        await jobs.release("x")
    assert sent == []


async def test_a_model_that_keeps_no_claims_has_none(
    invoices: Repository[InvoiceDTO], jobs: Jobs, sent: Sent
) -> None:
    with pytest.raises(UsageError, match="claimed_until"):
        await invoices.claim(limit=1, lease=MINUTE)
    with pytest.raises(UsageError, match="claimed_until"):
        await invoices.release(uuid4())
    for column in ("nope", "kind", "created_at"):
        with pytest.raises(UsageError, match=column):
            await jobs.claim(limit=1, lease=MINUTE, lease_column=column)
    assert sent == []
