"""Several processes, locks that somebody holds, and indexes built while a service runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.databases import connected
from tests.migrations.projects import BEFORE, IMPATIENT, Project
from timber.database.migrations.applying import Patience
from timber.database.schema_lock import KEY
from timber.errors import DatabaseError, QueryTimeoutError

if TYPE_CHECKING:
    import asyncpg

INDEXED = BEFORE + "    indexes: [{columns: [name, kind]}]\n"

REPLICA = """
import asyncio, sys
from timber import Timber
from timber.database.migrations.commands import upgrade

async def main():
    applied = await upgrade(sys.argv[1])
    async with Timber() as timber:
        publishers = timber.service("Publisher")
        await publishers.create({"name": sys.argv[2]})
    print("migrated" if applied.revisions else "waited" if applied.waited else "came later")

asyncio.run(main())
"""


async def _replica(project: Project, name: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", REPLICA, str(project.directory), name),
        env={
            "TIMBER_DATABASE_URL": project.url,
            "TIMBER_MODEL_CONFIG_DIRS": str(project.settings.model_config_dirs[0]),
            "PYTHONPATH": ":".join(path for path in sys.path if path),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    return said.decode().strip()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("processes", [4, pytest.param(10, marks=pytest.mark.slow)])
async def test_of_processes_that_start_at_once_one_migrates_and_all_run(
    tmp_path: Path, bare_database_url: str, processes: int
) -> None:
    (tmp_path / "models").mkdir()
    project = Project(tmp_path, bare_database_url, tmp_path / "models")
    project.write(BEFORE)
    await project.init()
    # And one more that builds an index: it waits for every transaction, and must not wait for those that wait for it.
    async with connected(project.url) as connection:
        await project.up()
        project.write(INDEXED)
        await project.new("an index")
        await project.down("base")
        await connection.execute("DROP TABLE alembic_version")

    said = await asyncio.gather(*(_replica(project, f"replica {n}") for n in range(processes)))

    assert said.count("migrated") == 1, said
    assert await project.check() == []
    async with connected(project.url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM publishers") == processes


async def test_who_comes_second_waits_and_finds_nothing_to_do(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    async with connected(small.url) as connection:
        await connection.execute(f"SELECT pg_advisory_lock({KEY})")
        second = asyncio.create_task(small.up())
        await asyncio.sleep(0.5)
        assert not second.done()
        await connection.execute(f"SELECT pg_advisory_unlock({KEY})")
    assert (await second).waited
    assert (await small.up()).revisions == ()


async def test_who_waits_too_long_is_told_for_whom(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    async with connected(small.url) as connection:
        await connection.execute(f"SELECT pg_advisory_lock({KEY})")
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(QueryTimeoutError, match=rf"Another process \(pid {pid}, .*\) has been"):
            await small.up(patience=Patience(others=0.2))


async def _with_a_pending_change(project: Project) -> None:
    project.write(BEFORE)
    await project.init()
    await project.up()
    project.write(BEFORE.replace("name: pages, type: Integer", "name: pages, type: BigInteger"))
    await project.new("more pages")


async def test_a_held_lock_ends_the_migration_with_the_holders_name(small: Project) -> None:
    await _with_a_pending_change(small)
    async with connected(small.url) as holder, connected(small.url) as reader:
        await holder.execute("SET application_name = 'a long report'")
        pid = await holder.fetchval("SELECT pg_backend_pid()")
        async with holder.transaction():
            await holder.execute("SELECT * FROM books")
            patience = Patience(lock_timeout=1.0, attempts=2)
            migrating = asyncio.create_task(small.up(patience=patience))
            slowest = await _slowest_read(reader, migrating)
            with pytest.raises(QueryTimeoutError) as caught:
                await migrating
    message = str(caught.value)
    assert "did not get AccessExclusiveLock on books within 1 s, 2 times" in message
    assert f"pid {pid} (user postgres, a long report, idle in transaction for" in message
    assert caught.value.sqlstate == "55P03"
    assert slowest < 5, "nobody was kept waiting for longer than the lock timeout"
    (problem, *_) = await small.check()
    assert problem.startswith("the database is at 0001"), "nothing of it is left behind"


async def _slowest_read(reader: asyncpg.Connection, migrating: asyncio.Task) -> float:
    slowest = 0.0
    loop = asyncio.get_running_loop()
    while not migrating.done():
        begun = loop.time()
        await reader.execute("SELECT count(*) FROM books")
        slowest = max(slowest, loop.time() - begun)
        await asyncio.sleep(0.01)
    return slowest


async def test_a_lock_that_becomes_free_is_tried_again(
    small: Project, caplog: pytest.LogCaptureFixture
) -> None:
    await _with_a_pending_change(small)
    async with connected(small.url) as holder:
        async with holder.transaction():
            await holder.execute("SELECT * FROM books")
            patience = Patience(lock_timeout=0.1, attempts=50)
            migrating = asyncio.create_task(small.up(patience=patience))
            while "Trying again" not in caplog.text:
                await asyncio.sleep(0.02)
        assert len((await migrating).revisions) == 1
    assert await small.check() == []


async def test_an_index_that_was_left_over_is_built_again(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        twice = "INSERT INTO publishers (id, name, kind) SELECT gen_random_uuid(), n::text, 'big' FROM generate_series(1, 2) n"
        await connection.execute(twice)
        small.write(BEFORE + "    indexes: [{columns: [kind], unique: true}]\n")
        (file,) = await small.new("one of a kind")
        with pytest.raises(DatabaseError, match="left the index ix_publishers_kind invalid"):
            await small.up()
        problems = await small.check()
        assert any("the index ix_publishers_kind is invalid" in problem for problem in problems)
        await connection.execute("DELETE FROM publishers WHERE name = '2'")
    assert (await small.up()).revisions == (file.revision,)
    assert await small.check() == []


async def test_an_invalid_index_is_a_difference_that_a_migration_mends(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_books_shelf'::regclass"
        )
    await small.new("mend the index")
    await small.up()
    assert await small.check() == []


async def test_a_long_transaction_elsewhere_does_not_end_a_concurrent_creation(
    small: Project,
) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    small.write(INDEXED)
    await small.new("an index")
    async with connected(small.url) as writer:
        async with writer.transaction():
            await writer.execute(
                "INSERT INTO publishers (id, name) VALUES (gen_random_uuid(), 'x')"
            )
            building = asyncio.create_task(small.up())
            await asyncio.sleep(IMPATIENT.lock_timeout * 5)
            assert not building.done()
            async with connected(small.url) as other:
                await other.execute(
                    "INSERT INTO publishers (id, name) VALUES (gen_random_uuid(), 'y')"
                )
        assert len((await building).revisions) == 1
    assert await small.check() == []


async def test_what_was_half_done_is_not_tried_again(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    (file,) = await small.new("by hand", empty=True)
    text = file.path.read_text(encoding="utf-8")
    by_hand = """
    op.execute("CREATE TABLE half (id integer)")
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE books ALTER title TYPE text")
"""
    file.path.write_text(text.replace("    pass\n", by_hand, 1), encoding="utf-8")
    async with connected(small.url) as holder, holder.transaction():
        await holder.execute("SELECT * FROM books")
        with pytest.raises(QueryTimeoutError, match=r"1 time: pid .* had been committed already"):
            await small.up()


async def test_a_step_that_postgresql_refuses_says_which_and_why(small: Project) -> None:
    await _with_a_pending_change(small)
    async with connected(small.url) as connection:
        await connection.execute("CREATE VIEW thick AS SELECT pages FROM books")
    with pytest.raises(
        DatabaseError,
        match=r"Migration 0002_\w+ failed and was rolled back: cannot alter type of a column used by a view",
    ):
        await small.up()
