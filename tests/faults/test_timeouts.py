"""Timeouts under load: whoever is told of a transaction is told the truth, and no connection is lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.faults import rows
from tests.faults.report import Report, forms, seeded_bug
from tests.faults.storm_of_timeouts import storm
from tests.harness.databases import connected
from timber.app import Timber
from timber.database import transaction
from timber.database.connections import Connections
from timber.database.shield import Shield

ROW = rows.TIMEOUTS
FIGURES = ("transactions", "cut_off", "committed", "committed_and_cut_off")
NONE_OF = (
    "commits_misreported", "rollbacks_misreported", "halves", "wrong_callbacks", "swallowed", "slots_lost",
)  # fmt: skip


@pytest.fixture
async def timber(fresh_database_url: str) -> AsyncGenerator[Timber]:
    async with Timber(fresh_database_url, pool_size=8, max_overflow=2) as timber:
        yield timber


async def weather(timber: Timber, url: str, report: Report, size: int) -> None:
    async with connected(url) as database:
        shown = await storm(timber, database, report.random, size)
        report.version("PostgreSQL", await database.fetchval("SHOW server_version"))
    for name in (*FIGURES, *NONE_OF):
        report.count(name.replace("_", " "), getattr(shown, name))
    wrong = {name: number for name in NONE_OF if (number := getattr(shown, name))}
    assert not wrong, wrong
    # A storm in which nobody is hit, or everybody, shows nothing.
    assert shown.cut_off > size / 10
    assert shown.committed > size / 10
    assert shown.committed_and_cut_off > 0


@forms(600, 5000, timeout=300)
async def test_a_commit_is_reported_as_committed_whenever_the_timeout_passes(
    timber: Timber, fresh_database_url: str, report: Report, size: int
):
    await weather(timber, fresh_database_url, report, size)


class Unshielded(Shield):
    __slots__ = ()

    async def run(self, coroutine: Any) -> Any:
        return await coroutine


@seeded_bug("COMMIT is not finished under a shield")
async def test_a_commit_that_is_cut_off_is_noticed(
    timber: Timber, fresh_database_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transaction, "Shield", Unshielded)
    with pytest.raises(AssertionError, match="commits_misreported"):
        await weather(timber, fresh_database_url, report, 600)


@seeded_bug("the outcome is not written on the cancellation that arrived during COMMIT")
async def test_an_outcome_that_is_kept_back_is_noticed(
    timber: Timber, fresh_database_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transaction, "note_outcome", lambda error, outcome: None)
    monkeypatch.setattr("timber.database.unit_of_work.note_outcome", lambda error, outcome: None)
    with pytest.raises(AssertionError, match="commits_misreported"):
        await weather(timber, fresh_database_url, report, 600)


@seeded_bug("the place in the pool of the first transaction that is cut off is not given back")
async def test_a_place_that_is_lost_is_noticed(
    timber: Timber, fresh_database_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    right = Connections.release
    lost: list[object] = []

    def forgetful(self: Connections, link: Any) -> None:
        if not lost and isinstance(sys.exc_info()[1], asyncio.CancelledError):
            lost.append(link)
            link.gate = None
        right(self, link)

    monkeypatch.setattr(Connections, "release", forgetful)
    with pytest.raises(AssertionError, match=r"\{'slots_lost': 1\}"):
        await weather(timber, fresh_database_url, report, 200)
