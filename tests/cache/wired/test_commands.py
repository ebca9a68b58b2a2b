"""`timber cache` over a Redis that two processes use."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cache.tables import eventually
from tests.cache.wired.conftest import MakeHouse
from tests.cache.wired.house import House
from timber.cli.commands import app


async def run(*arguments: str, code: int = 0) -> Any:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["cache", *arguments, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
async def house(
    make_house: MakeHouse, house_url: str, cache_url: str, monkeypatch: pytest.MonkeyPatch
) -> House:
    made = await make_house(cache_prefix="timber-test-commands")
    for name, value in {
        "DATABASE_URL": house_url,
        "CACHE_URL": cache_url,
        "CACHE_PREFIX": "timber-test-commands",
    }.items():
        monkeypatch.setenv(f"TIMBER_{name}", value)
    await made.timber.cache.clear()
    return made


async def _asked(house: House) -> None:
    session = await house.timber.sessions.create_session("ann", "research")
    assert await house.timber.sessions.get_session(session.id) == session
    await house.timber.sessions.get_user_sessions("ann")
    assert await house.timber.notifications.unread_count("ann") == 0


async def test_stats_count_what_redis_holds(house: House) -> None:
    assert (await run("stats"))["models"] == {}
    await _asked(house)
    told = await run("stats")
    session = told["models"]["Session"]
    assert (session["rows"], session["answers"], session["leases"]) == (1, 1, 0)
    assert session["bytes"] > 100
    assert told["models"]["Notification"]["answers"] == 1
    assert told["tags"] == 4  # two models, and the lists of two users' things


async def test_clear_throws_copies_away_everywhere(house: House) -> None:
    await _asked(house)
    assert house.counts("l1", "Session")["bytes"] > 0
    assert await run("clear", "Session") == {"cleared": ["Session"]}
    await eventually(lambda: house.counts("l1", "Session")["bytes"] == 0)
    assert house.counts("l1", "Notification")["bytes"] > 0
    assert await run("clear") == {"cleared": "everything"}
    await eventually(lambda: len(house.timber.cache.memory) == 0)
    assert (await run("stats"))["models"] == {}


async def test_a_model_that_is_not_there_is_refused(house: House) -> None:
    assert (await run("clear", "Sesion", code=2))["error"]["type"] == "ConfigurationError"


async def test_without_a_redis_there_is_nothing_to_look_at(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMBER_CACHE_URL", "memory")
    assert "memory of a process" in (await run("stats", code=2))["error"]["message"]
    monkeypatch.delenv("TIMBER_CACHE_URL")
    assert "cache_url" in (await run("stats", code=2))["error"]["message"]
    monkeypatch.setenv("TIMBER_CACHE_URL", "redis://127.0.0.1:9/0")
    assert (await run("clear", code=2))["error"]["type"] == "UnavailableError"
