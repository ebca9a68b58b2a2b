"""Retention: what has outlived its time goes, with what depends on it, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from tests.database.conftest import QUICK
from tests.privacy.club import REGISTRY, Club, device_owner, pictures
from timber.database.manager import AsyncDatabaseManager
from timber.errors import UsageError, ValidationError
from timber.models.config import ModelConfig
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy
from timber.privacy.purging import PurgeProgress
from timber.settings import TimberSettings

ADA, BOB = "user-ada", "user-bob"
NOW = datetime.now(UTC)


def later(club: Club, days: float) -> Privacy:
    """The work on persons' data as many days from now."""
    club.db.clock = lambda: datetime.now(UTC) + timedelta(days=days)
    return Privacy(club.db, REGISTRY)


async def test_rows_go_when_they_were_soft_deleted_longer_ago_than_the_model_says(
    club: Club,
) -> None:
    made = await club.join(ADA)  # deletes a reply
    await club.repository("Comment").delete(made["comment"].id)
    assert (await later(club, 4.9).purge()).deleted == {}
    assert (await later(club, 5.1).purge()).deleted == {"Reaction": 1, "Comment": 1}
    assert (await later(club, 9.9).purge()).deleted == {}
    report = await later(club, 10.1).purge()
    assert report.deleted == {"Post": 1}
    assert report.left == {}
    assert report.rows == 1
    assert await club.repository("Post").count(include_deleted=True) == 1


async def test_what_depends_on_a_row_goes_along_as_its_references_say(club: Club) -> None:
    made = await club.join(ADA)
    post = made["post"].id
    theirs = await club.add("Comment", author=BOB, post_id=post, body="along with the post")
    reply = await club.add(
        "Post", user_id=ADA, member_id=made["member"].id, title="reply", reply_to=post
    )
    await club.repository("Post").delete(post)
    report = await later(club, 11).purge()
    assert report.deleted == {"Reaction": 2, "Comment": 3, "post_tags": 1, "Post": 2}
    assert await club.repository("Comment").get_or_none(theirs.id) is None
    assert (await club.repository("Post").get(reply.id)).reply_to is None  # set_null


async def test_rows_go_when_they_have_expired(club: Club) -> None:
    owner = device_owner(ADA)
    for hours in (-1, 0, 1):
        await club.add("Device", owner_id=owner, seen_at=NOW + timedelta(hours=hours))
    await club.add("Device", owner_id=owner)
    assert (await Privacy(club.db, REGISTRY).purge()).deleted == {"Device": 2}
    assert await club.repository("Device").count() == 2


async def test_a_transaction_never_deletes_much_more_than_a_batch(club: Club) -> None:
    made = await club.join(ADA)
    post = made["post"].id
    comments = [{"author": ADA, "post_id": post, "body": str(n)} for n in range(40)]
    keys = await club.repository("Comment").insert_many(comments)
    reactions = [{"comment_id": key, "kind": "like"} for key in keys for _ in range(3)]
    await club.repository("Reaction").insert_many(reactions)
    await club.repository("Post").delete(post)
    told: list[PurgeProgress] = []
    report = await later(club, 11).purge(batch=10, progress=told.append)
    assert report.deleted == {"Reaction": 122, "Comment": 42, "post_tags": 1, "Post": 2}
    rows = [0, *(step.rows for step in told)]
    assert max(b - a for a, b in itertools.pairwise(rows)) <= 20
    assert rows[-1] == report.rows


async def test_a_row_that_somebody_holds_is_left_for_the_next_time(
    club: Club, club_url: str
) -> None:
    keys = [(await club.add("Comment", author=ADA, body=str(number))).id for number in range(3)]
    await club.repository("Comment").delete_where(author=ADA)
    privacy = later(club, 6)
    other = AsyncDatabaseManager(club_url, settings=TimberSettings(**QUICK))
    holding = Club(other).repository("Comment")
    try:
        async with other.unit_of_work():
            await holding.for_update(keys[1], include_deleted=True)
            report = await asyncio.create_task(privacy.purge())
            assert report.deleted == {"Comment": 2}
            assert report.left == {"Comment": 1}
    finally:
        await other.dispose()
    assert (await privacy.purge()).deleted == {"Comment": 1}


async def test_the_time_can_be_another_one_than_the_models(club: Club) -> None:
    await club.add("Comment", author=ADA, body="")
    await club.repository("Comment").delete_where(author=ADA)
    privacy = later(club, 6)
    assert (await privacy.purge(retention={"Comment": timedelta(days=7)})).rows == 0
    assert (await privacy.purge(retention={"Comment": timedelta(hours=1)})).rows == 1
    with pytest.raises(ValidationError, match=r"retention\.Device"):
        await privacy.purge(retention={"Device": timedelta(days=1)})


async def test_several_processes_purge_at_once(club: Club) -> None:
    rows = [{"author": ADA, "body": str(number)} for number in range(300)]
    await club.repository("Comment").insert_many(rows)
    await club.repository("Comment").delete_where(author=ADA)
    privacy = later(club, 6)
    reports = await asyncio.gather(*(privacy.purge(batch=20) for _ in range(3)))
    assert sum(report.rows for report in reports) == 300


async def test_rows_of_live_data_are_untouched(club: Club, club_url: str) -> None:
    await club.join(BOB)
    await later(club, 365).purge()
    before = await pictures(club_url)
    assert (await later(club, 730).purge()).rows == 0
    assert await pictures(club_url) == before


@pytest.fixture
async def shelf(bare_database_url: str) -> Club:
    """Boxes in shelves, with labels on them that may not go."""

    def model(name: str, refers: str | None = None, action: str = "cascade") -> ModelConfig:
        columns = []
        if refers is not None:
            reference = {"references": f"{refers}.id", "on_delete": action}
            columns.append({"name": "above", "type": "UUID", "foreign_key": reference})
        personal = {"retention_days": 1} if refers is None else {"through": "above"}
        return ModelConfig.model_validate(
            {
                "name": name,
                "table": name.lower() + "s",
                "mixins": ["Owner", "SoftDelete"] if refers is None else [],
                "columns": columns,
                "features": {"personal_data": personal},
            }
        )

    models = [model("Shelf"), model("Box", "Shelf"), model("Label", "Box", "restrict")]
    registry = ModelRegistry(models=models, built_in=False)
    db = AsyncDatabaseManager(bare_database_url, metadata=registry.metadata)
    await db.create_all_tables()
    return Club(db, registry)


async def test_what_something_deep_below_keeps_is_passed_over_and_told(shelf: Club) -> None:
    shelves = [await shelf.add("Shelf", user_id=ADA) for _ in range(5)]
    boxes = [await shelf.add("Box", above=each.id) for each in shelves]
    await shelf.add("Label", above=boxes[2].id)
    await shelf.repository("Shelf").delete_where(user_id=ADA)
    shelf.db.clock = lambda: datetime.now(UTC) + timedelta(days=2)
    report = await Privacy(shelf.db, shelf.registry).purge(batch=3)
    assert report.deleted == {"Box": 4, "Shelf": 4}
    assert report.left == {"Shelf": 1}
    assert await shelf.repository("Box").count() == 1
    await shelf.db.dispose()


async def test_a_purge_does_not_run_inside_a_transaction(club: Club) -> None:
    async with club.db.unit_of_work():
        with pytest.raises(UsageError, match="outside of any unit of work"):
            await Privacy(club.db, REGISTRY).purge()
