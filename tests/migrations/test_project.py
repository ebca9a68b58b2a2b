"""Twelve models with all that models can have, migrated forth and back."""

from __future__ import annotations

from tests.harness.databases import connected
from tests.migrations.listing import listing
from tests.migrations.projects import Project
from timber import Timber


async def test_the_project_starts_and_migrates_up_and_down_and_up_again(
    project: Project, other_url: str
) -> None:
    await project.init()
    assert len(project.settings.model_config_dirs) < 2 or "hnsw" in project.text()
    await project.up()
    assert await project.check() == []
    migrated = await listing(project.url)
    await project.create_all(other_url)
    assert migrated == await listing(other_url)

    await project.down()
    left = await listing(project.url)
    assert not [line for line in left.splitlines() if not line.startswith("extension")]
    await project.up()
    assert await project.check() == []
    assert migrated == await listing(project.url)

    async with Timber(settings=project.settings) as timber:
        own = {"Account", "Category", "Document", "Invoice", "Order", "OrderLine", "Payment"}
        own |= {"Product", "Profile", "Sample", "Supplier", "Team"}
        assert own <= set(timber.registry.list_models())
        team = await timber.service("Team").create({"name": "Night shift"})
        assert (await timber.service("Team").get(team.id)).name == "Night shift"


async def test_the_script_does_without_a_database_what_up_does(
    project: Project, other_url: str
) -> None:
    await project.init()
    await project.up()
    script = await project.on("postgresql://nobody@nowhere/nothing").sql()
    async with connected(other_url) as connection:
        for statement in statements(script):
            await connection.execute(statement)
    assert await listing(other_url) == await listing(project.url)
    assert await project.on(other_url).check() == []

    back = await project.sql("head:base")
    async with connected(other_url) as connection:
        for statement in statements(back):
            await connection.execute(statement)
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(query) == 1, "Alembic's own"


def statements(script: str) -> list[str]:
    """The statements of a script: each ends with a semicolon at the end of a line, outside of texts and bodies."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        ended = line.rstrip().endswith(";")
        if ended and current.count("'") % 2 == 0 and current.count("$function$") % 2 == 0:
            found.append(current)
            current = ""
    assert not current.strip()
    return found
