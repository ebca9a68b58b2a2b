"""The order of an erasure: children first, circles taken apart or refused by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest

from tests.harness.databases import connected
from tests.privacy.club import Club
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConfigurationError
from timber.models.config import ModelConfig
from timber.models.registry import ModelRegistry
from timber.privacy.planning import PersonalModels
from timber.privacy.privacy import Privacy

ADA, BOB = "user-ada", "user-bob"

Make = Callable[..., Coroutine[Any, Any, Club]]


def model(name: str, *columns: dict[str, Any], **personal: Any) -> ModelConfig:
    """A model of rows that somebody owns, unless they are reached through others."""
    return ModelConfig.model_validate(
        {
            "name": name,
            "table": f"{name.lower()}s",
            "mixins": [] if "through" in personal else ["Owner"],
            "columns": list(columns),
            "features": {"personal_data": personal or True},
        }
    )


def to(target: str, name: str, **options: Any) -> dict[str, Any]:
    """A column that refers to another model."""
    column, _, action = target.partition(" ")
    reference = {"references": column if "." in column else f"{column}.id"}
    if action:
        reference["on_delete"] = action
    return {"name": name, "type": "UUID", "foreign_key": reference, **options}


MUST = {"nullable": False}


def order(*models: ModelConfig) -> list[str]:
    registry = ModelRegistry(models=models, built_in=False)
    return [holding.name for holding in PersonalModels(registry).order]


@pytest.fixture
async def make(bare_database_url: str) -> AsyncGenerator[Make]:
    made: list[AsyncDatabaseManager] = []

    async def make(*models: ModelConfig) -> Club:
        registry = ModelRegistry(models=models, built_in=False)
        db = AsyncDatabaseManager(bare_database_url, metadata=registry.metadata)
        made.append(db)
        await db.create_all_tables()
        return Club(db, registry)

    yield make
    for db in made:
        await db.dispose()


async def erased(club: Club) -> dict[str, Any]:
    privacy = Privacy(club.db, club.registry)
    report = await privacy.delete_user_data(ADA)
    assert report, report
    verified = await privacy.verify_deletion(ADA)
    assert verified, str(verified)
    return report.done


def test_what_refers_goes_before_what_is_referred_to() -> None:
    a, b = model("Ant", to("Bee", "bee_id", **MUST)), model("Bee", to("Cow", "cow_id"))
    assert order(model("Cow"), b, a) == ["Ant", "Bee", "Cow"]


def test_what_is_reached_through_a_row_goes_before_it() -> None:
    leaf = model("Leaf", to("Twig", "twig_id"), through="twig_id", on_erasure="anonymise")
    twig = model("Twig", to("Bough", "bough_id"), through="bough_id", on_erasure="anonymise")
    assert order(model("Bough", on_erasure="anonymise"), twig, leaf) == ["Leaf", "Twig", "Bough"]


def test_the_built_in_models_have_an_order() -> None:
    names = [holding.name for holding in PersonalModels(ModelRegistry()).order]
    assert max(names.index("SessionEvent"), names.index("ResearchData")) < names.index("Session")
    assert names.index("TrackerEvent") < names.index("Tracker")


async def test_a_circle_is_taken_apart_where_a_reference_may_be_null(make: Make) -> None:
    club = await make(model("Ant", to("Bee", "bee_id", **MUST)), model("Bee", to("Ant", "ant_id")))
    b = await club.add("Bee", user_id=ADA)
    a = await club.add("Ant", user_id=ADA, bee_id=b.id)
    await club.repository("Bee").update(b.id, {"ant_id": a.id})
    assert await erased(club) == {"Bee": {"deleted": 1}, "Ant": {"deleted": 1}}


async def test_a_circle_that_cannot_be_taken_apart_is_refused_by_name(make: Make) -> None:
    models = [
        model("Ant", to("Bee", "bee_id", **MUST)),
        model("Bee", to("Cow", "cow_id", **MUST)),
        model("Cow", to("Ant", "ant_id", **MUST)),
    ]
    with pytest.raises(ConfigurationError, match=r"(Ant|Bee|Cow) -> .* refer to one another"):
        order(*models)


@pytest.mark.parametrize("action", ["", "cascade", "set_null", "restrict"])
async def test_a_tree_of_rows_in_one_table_goes_whatever_its_references_do(
    make: Make, action: str
) -> None:
    club = await make(model("Node", to(f"Node {action}".strip(), "parent_id")))
    above = None
    for _ in range(5):
        node = await club.add("Node", user_id=ADA, parent_id=above)
        above = node.id
    theirs = await club.add("Node", user_id=BOB, parent_id=above)
    done = await erased(club)
    assert done["Node"]["deleted"] == 5
    assert (await club.repository("Node").get(theirs.id)).parent_id is None


async def test_a_tree_whose_references_may_not_be_null_goes_leaves_first(make: Make) -> None:
    club = await make(model("Node", to("Node", "parent_id", **MUST)))
    nodes = club.repository("Node")
    root = await nodes.insert({"user_id": ADA, "parent_id": (key := _key())}, id=key)
    above = root.id
    for _ in range(4):
        above = (await club.add("Node", user_id=ADA, parent_id=above)).id
    assert await erased(club) == {"Node": {"deleted": 5}}


async def test_what_hangs_on_another_column_than_the_key_is_found(make: Make) -> None:
    shelf = model("Shelf", {"name": "code", "type": "UUID", "unique": True})
    club = await make(shelf, model("Book", to("Shelf.code", "shelf_code"), through="shelf_code"))
    code = _key()
    await club.add("Shelf", user_id=ADA, code=code)
    await club.add("Book", shelf_code=code)
    await club.add("Book")
    assert await erased(club) == {"Book": {"deleted": 1}, "Shelf": {"deleted": 1}}


async def test_a_person_whose_id_is_a_number_is_anonymised_to_nobody(
    make: Make, bare_database_url: str
) -> None:
    config = ModelConfig.model_validate(
        {
            "name": "Vote",
            "table": "votes",
            "columns": [
                {"name": "voter", "type": "Integer"},
                {"name": "note", "type": "Text"},
                {"name": "choice", "type": "Enum[yes, no]", "nullable": False},
            ],
            "features": {
                "personal_data": {"person": "voter", "on_erasure": "anonymise", "columns": ["note"]}
            },
        }
    )
    club = await make(config)
    for voter in (7, 7, 8):
        await club.add("Vote", voter=voter, note="I am 7", choice="yes")
    privacy = Privacy(club.db, club.registry)
    assert (await privacy.delete_user_data(7)).done == {"Vote": {"anonymised": 2}}
    assert await privacy.verify_deletion("7")
    assert not await privacy.verify_deletion(8)
    assert await privacy.verify_deletion("not a number")
    async with connected(bare_database_url) as connection:
        rows = await connection.fetch("SELECT voter, note, choice FROM votes ORDER BY voter")
    assert [tuple(row) for row in rows] == [(8, "I am 7", "yes"), *[(None, None, "yes")] * 2]


def _key() -> Any:
    from timber.repository.rows import new_key

    return new_key()
