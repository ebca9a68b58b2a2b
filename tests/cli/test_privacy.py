"""`timber privacy`: what people and programs are told, and the exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.harness.databases import connected
from timber import Timber
from timber.cli.commands import app

ADA = "user-ada"


@pytest.fixture
async def office(fresh_database_url: str) -> AsyncGenerator[Timber]:
    async with Timber(fresh_database_url) as timber:
        session = await timber.sessions.create_session(ADA, "research", {"symbol": "AAPL"})
        await timber.research.save_research(session.id, {"pe": 29.1}, "fundamental")
        await timber.notifications.create_notification(ADA, "n", title="t", content="c")
        yield timber


async def run(url: str, *arguments: str) -> Result:
    # In a thread: a command has an event loop of its own.
    return await asyncio.to_thread(
        CliRunner().invoke, app, ["privacy", *arguments], env={"TIMBER_DATABASE_URL": url}
    )


async def test_a_summary_is_a_table_or_json(office, fresh_database_url):
    shown = await run(fresh_database_url, "summary", ADA)
    assert shown.exit_code == 0
    assert "Notification" in shown.stdout
    told = json.loads((await run(fresh_database_url, "summary", ADA, "--json")).stdout)
    assert told["rows"] == 3
    assert {model["model"]: model["rows"] for model in told["models"]}["Session"] == 1


async def test_an_export_goes_to_the_screen_or_to_a_file(office, fresh_database_url, tmp_path):
    printed = await run(fresh_database_url, "export", ADA)
    assert printed.exit_code == 0
    assert "manifest" in json.loads(printed.stdout.splitlines()[-1])
    path = tmp_path / "ada.jsonl"
    written = await run(fresh_database_url, "export", ADA, "-o", str(path))
    assert written.stdout == f"wrote 3 rows to {path}\n"
    checked = await run(fresh_database_url, "check-export", str(path))
    assert checked.exit_code == 0
    assert checked.stdout.startswith("3 rows, as they were written")
    path.write_bytes(path.read_bytes().replace(b"AAPL", b"IBM!"))
    spoilt = await run(fresh_database_url, "check-export", str(path), "--json")
    assert spoilt.exit_code == 1
    assert json.loads(spoilt.stdout)["ok"] is False
    refused = await run(fresh_database_url, "export", ADA, "--json")
    assert refused.exit_code == 2


async def test_an_erasure_is_not_begun_where_nobody_can_be_asked(office, fresh_database_url):
    refused = await run(fresh_database_url, "erase", ADA)
    assert refused.exit_code == 2
    assert "say --yes" in refused.stderr
    assert (await run(fresh_database_url, "verify", ADA)).exit_code == 1
    assert (await run(fresh_database_url, "erase")).exit_code == 2


async def test_an_erasure_says_what_it_did_and_that_nothing_is_left(office, fresh_database_url):
    done = await run(fresh_database_url, "erase", ADA, "--yes")
    assert done.exit_code == 0, done.output
    assert "ResearchData: 1 deleted\n" in done.stdout
    assert "Nothing is left in" in done.stdout
    again = await run(fresh_database_url, "erase", ADA, "--yes", "--json")
    (told,) = json.loads(again.stdout)["erasures"]
    assert (told["complete"], told["rows"], told["verified"]["gone"]) == (True, 0, True)
    assert (await run(fresh_database_url, "erase", "--unfinished")).stdout == (
        "No erasure was interrupted.\n"
    )


async def test_what_was_interrupted_goes_on(office, fresh_database_url):
    def stop(_):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await office.privacy.delete_user_data(ADA, batch=1, progress=stop)
    ended = await run(fresh_database_url, "erase", "--unfinished", "--json")
    assert ended.exit_code == 0
    (told,) = json.loads(ended.stdout)["erasures"]
    assert (told["user"], told["resumed"], told["rows"]) == (ADA, True, 3)


async def test_a_verification_is_1_where_something_is_left_or_cannot_be_seen(
    office, fresh_database_url
):
    left = await run(fresh_database_url, "verify", ADA)
    assert left.exit_code == 1
    assert "Session.user_id: 1 left" in left.stdout
    assert (await run(fresh_database_url, "verify", "nobody")).exit_code == 0
    async with connected(fresh_database_url) as connection:
        await connection.execute("ALTER TABLE trackers RENAME TO elsewhere")
    unseen = await run(fresh_database_url, "verify", "nobody", "--json")
    assert unseen.exit_code == 1
    told = json.loads(unseen.stdout)
    assert not told["left"]
    assert {where["place"] for where in told["unseen"]} >= {"Tracker.user_id"}


async def test_a_purge_says_what_went(office, fresh_database_url):
    session = await office.sessions.create_session(ADA, "research")
    await office.sessions.delete_session(session.id, ADA)
    nothing = await run(fresh_database_url, "purge")
    assert nothing.stdout == "Nothing has outlived its time.\n"
    done = await run(fresh_database_url, "purge", "--retention", "Session=0")
    assert done.exit_code == 0
    assert done.stdout == "SessionEvent: 1 deleted\nSession: 1 deleted\n"
    wrong = await run(fresh_database_url, "purge", "--retention", "Session=soon")
    assert wrong.exit_code == 2
    unknown = await run(fresh_database_url, "purge", "--retention", "Sessions=1", "--json")
    assert json.loads(unknown.stdout)["error"]["type"] == "ValidationError"


async def test_a_model_that_does_not_say_stops_an_erasure(fresh_database_url, tmp_path: Path):
    (tmp_path / "diary.yaml").write_text(
        "version: 1\nmodels:\n  - {name: Diary, table: diaries, mixins: [Owner]}\n"
    )
    models = ("--models", str(tmp_path))
    refused = await run(fresh_database_url, "erase", ADA, "--yes", *models)
    assert refused.exit_code == 2
    assert "Diary (it has an owner, user_id)" in refused.stderr
    shown = await run(fresh_database_url, "summary", ADA, *models)
    assert "Diary does not declare personal_data" in shown.stdout
