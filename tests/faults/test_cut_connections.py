"""A connection cut at every byte, in both directions: nothing doubled, nothing lost, nothing unresolved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DELETE,
    FIND,
    INSERT_SILENTLY,
    STAMP,
    UPDATE,
    Entry,
    Observer,
    assert_nothing_is_held,
    by_key,
    by_token,
    insert,
)
from tests.faults import rows
from tests.faults.report import Report, forms, seeded_bug
from tests.harness.proxy import Direction, Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import Fetch, Outcome, Verdict, outcome_of
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import ServiceError

ROW = rows.CUT

BOTH = Statement(
    "WITH changed AS (UPDATE entry SET amount = amount + 1 WHERE id = $3)"
    " INSERT INTO entry (id, note) VALUES ($1, $2) RETURNING id",
    label="insert entry",
    returning=True,
)

both_directions = pytest.mark.parametrize("direction", ["to_server", "to_client"])
how_many = forms(12, None, timeout=900)


Warm = Callable[[], Awaitable[None]]
"""Has every statement prepared on a connection that was just made."""


class Attempt(NamedTuple):
    """One piece of work, and a look at the tables from beside Timber: how often each part of it has happened."""

    work: Callable[[], Awaitable[Outcome]]
    times: Callable[[], Awaitable[set[int]]]


class Scene:
    """Work that is cut off, and what is counted of it."""

    def __init__(self, db: AsyncDatabaseManager, proxy: Proxy, report: Report) -> None:
        self.db = db
        self.proxy = proxy
        self.report = report
        self.wrong = dict.fromkeys(("duplicated", "lost", "half done", "misreported"), 0)
        self.unresolved = 0

    async def everywhere(
        self,
        direction: Direction,
        cuts: int | None,
        attempt: Callable[[], Awaitable[Attempt]],
        *,
        cold: bool = False,
        warm: Warm | None = None,
    ) -> None:
        """Cut one attempt after each number of bytes that it takes, or after some of these numbers."""
        size = await self._measure(direction, attempt, cold=cold, warm=warm)
        step = 1 if cuts is None else max(1, size // cuts)
        for count in range(self.report.random.randrange(step), size + 1, step):
            work, times = await attempt()
            await self._connect_anew(cold=cold, warm=warm)
            self.proxy.cut_after(count, direction, reset=self.report.random.random() < 0.5)
            said = await work()
            self.proxy.heal()
            self._judge(said, await times())
            self.report.count("cuts", 1)
            assert_nothing_is_held(self.db)

    async def _measure(
        self,
        direction: Direction,
        attempt: Callable[[], Awaitable[Attempt]],
        *,
        cold: bool = False,
        warm: Warm | None = None,
    ) -> int:
        """How many bytes it takes when nothing is in its way."""
        size = 0
        for _ in range(2):
            work, times = await attempt()
            await self._connect_anew(cold=cold, warm=warm)
            before = self.proxy.passed[direction]
            assert await work() == "committed"
            size = max(size, self.proxy.passed[direction] - before)
            assert await times() == {1}
        return size

    async def _connect_anew(self, *, cold: bool, warm: Warm | None) -> None:
        await self.db.dispose()
        if not cold:
            await self.db.ping()
        if warm is not None:
            await warm()

    def _judge(self, said: Outcome, times: set[int]) -> None:
        self.unresolved += said == "unknown"
        self.wrong["half done"] += len(times) > 1
        self.wrong["duplicated"] += max(times) > 1
        self.wrong["lost"] += said == "committed" and min(times) == 0
        self.wrong["misreported"] += said == "rolled_back" and max(times) > 0

    def check(self, *, unknown_allowed: bool = False) -> None:
        for what, number in self.wrong.items():
            self.report.count(what, number)
        if unknown_allowed:
            self.report.count("unknown where nothing can be looked for", self.unresolved)
        else:
            self.report.count("unresolved", self.unresolved)
        found = {what: number for what, number in self.wrong.items() if number}
        assert not found, f"{found}"
        assert unknown_allowed or not self.unresolved, f"unresolved: {self.unresolved}"


@pytest.fixture
async def scene(make_db: MakeDb, proxy: Proxy, observer: Observer, report: Report) -> Scene:
    report.version("PostgreSQL", await observer.value("SHOW server_version"))
    return Scene(make_db(proxy.url), proxy, report)


# --------------------------------------------------------------------------------------------------------- units of work


async def _raw(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    await insert(db, note)
    await db.write(UPDATE, (key, 1))


async def _with_savepoints(
    db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID
) -> None:
    async with unit.savepoint():
        await insert(db, note)
    async with db.unit_of_work():
        await db.write(UPDATE, (key, 1))


async def _in_one(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    await db.write(BOTH, (uuid4(), note, key))


async def _with_the_orm(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    unit.session.add(Entry(note=note))
    await unit.session.flush()
    entry = await unit.session.get_one(Entry, key)
    entry.amount += 1


async def _without_an_id(db: AsyncDatabaseManager, unit: UnitOfWork, note: str, key: UUID) -> None:
    await db.copy("entry", ["id", "note"], [(uuid4(), note)])
    await db.execute(UPDATE, (key, 1))


bodies = pytest.mark.parametrize(
    "body", [_raw, _with_savepoints, _with_the_orm, _without_an_id], ids=lambda b: b.__name__
)


def units(
    scene: Scene, observer: Observer, body: Any, *, repeated: bool
) -> Callable[[], Awaitable[Attempt]]:
    """Units of work with two parts: a row that is new, and one that is changed."""

    async def attempt() -> Attempt:
        note, key = uuid4().hex, uuid4()
        await observer.connection.execute("INSERT INTO entry (id) VALUES ($1)", key)
        seen: list[UnitOfWork] = []

        async def in_unit(unit: UnitOfWork) -> None:
            seen.append(unit)
            await body(scene.db, unit, note, key)

        async def once() -> None:
            async with scene.db.unit_of_work() as uow:
                await in_unit(uow)

        async def work() -> Outcome:
            try:
                await (scene.db.run(in_unit) if repeated else once())
            except ServiceError as error:
                said = outcome_of(error) or "unknown"
                if repeated and said == "rolled_back":
                    raise AssertionError("it was not repeated") from error
            else:
                said = "committed"
            outcomes = [unit.outcome for unit in seen]
            assert outcomes == ["rolled_back"] * (len(seen) - 1) + [said]
            return said

        async def times() -> set[int]:
            notes = await observer.value("SELECT count(*) FROM entry WHERE note = $1", note)
            return {
                notes,
                await observer.value("SELECT amount FROM entry WHERE id = $1", key),
            }

        return Attempt(work, times)

    return attempt


@how_many
@both_directions
@bodies
async def test_a_unit_of_work_run_by_run_happens_exactly_once(
    scene: Scene, observer: Observer, direction: Direction, size: int | None, body: Any
):
    await scene.everywhere(direction, size, units(scene, observer, body, repeated=True))
    scene.check()


@how_many
@both_directions
@bodies
async def test_the_outcome_of_a_single_unit_of_work_agrees_with_the_table(
    scene: Scene, observer: Observer, direction: Direction, size: int | None, body: Any
):
    await scene.everywhere(direction, size, units(scene, observer, body, repeated=False))
    scene.check()


@how_many
@both_directions
@pytest.mark.parametrize("repeated", [True, False], ids=["by run", "single"])
@pytest.mark.parametrize("body", [_raw, _with_savepoints, _in_one], ids=lambda b: b.__name__)
async def test_what_begins_is_cut_off_from_the_statement_that_it_is_answered_with(
    scene: Scene,
    observer: Observer,
    direction: Direction,
    size: int | None,
    body: Any,
    *,
    repeated: bool,
):
    async def warm() -> None:
        async with scene.db.unit_of_work() as unit:
            await body(scene.db, unit, "", uuid4())

    attempt = units(scene, observer, body, repeated=repeated)
    await scene.everywhere(direction, size, attempt, warm=warm)
    scene.check()


@how_many
@both_directions
async def test_the_handshake_too(
    scene: Scene, observer: Observer, direction: Direction, size: int | None
):
    attempt = units(scene, observer, _raw, repeated=True)
    await scene.everywhere(direction, size, attempt, cold=True)
    scene.check()


# -------------------------------------------------------------------------------------------------------- lone statements


def lone(scene: Scene, observer: Observer, verb: str) -> Callable[[], Awaitable[Attempt]]:
    """Lone statements that can be recognised by what they wrote."""
    db, chance = scene.db, scene.report.random

    async def attempt() -> Attempt:
        key, new, token = uuid4(), uuid4(), chance.getrandbits(60)
        await observer.connection.execute("INSERT INTO entry (id) VALUES ($1)", key)

        async def gone(fetch: Fetch) -> Verdict:
            found = await fetch(FIND, (key,))
            return ("rolled_back", ()) if found else ("committed", [{"id": key}])

        async def work() -> Outcome:
            if verb == "insert":
                assert await insert(db, key=new) == new
            elif verb == "update":
                await db.write(STAMP, (key, token), check=by_token(key, token))
            elif verb == "delete":
                assert (await db.write(DELETE, (key,), check=gone))[0]["id"] == key
            elif verb == "copy":
                await db.copy("entry", ["id"], [(new,), (uuid4(),)], check=by_key(new))
            else:
                assert (await db.fetch(FIND, (key,)))[0]["amount"] == 0
            return "committed"

        async def times() -> set[int]:
            if verb == "update":
                amount = "SELECT amount FROM entry WHERE id = $1 AND token = $2"
                return {await observer.value(amount, key, token) or 0}
            left = await observer.value("SELECT count(*) FROM entry WHERE id = $1", key)
            if verb == "delete":
                return {1 - left}
            if verb == "read":
                return {1}
            return {await observer.value("SELECT count(*) FROM entry WHERE id = $1", new)}

        return Attempt(work, times)

    return attempt


@how_many
@both_directions
@pytest.mark.parametrize("verb", ["insert", "update", "delete", "copy", "read"])
async def test_a_lone_statement_that_can_be_checked_happens_exactly_once(
    scene: Scene, observer: Observer, direction: Direction, size: int | None, verb: str
):
    await scene.everywhere(direction, size, lone(scene, observer, verb))
    scene.check()


@how_many
@both_directions
async def test_a_lone_write_that_cannot_be_checked_is_never_repeated(
    scene: Scene, observer: Observer, direction: Direction, size: int | None
):
    async def attempt() -> Attempt:
        note = uuid4().hex

        async def work() -> Outcome:
            try:
                await scene.db.execute(INSERT_SILENTLY, (uuid4(), note))
            except ServiceError as error:
                return outcome_of(error) or "unknown"
            return "committed"

        async def times() -> set[int]:
            return {await observer.value("SELECT count(*) FROM entry WHERE note = $1", note)}

        return Attempt(work, times)

    await scene.everywhere(direction, size, attempt)
    scene.check(unknown_allowed=True)


# -------------------------------------------------------------------------------------------------------------- splitting


@how_many
@both_directions
async def test_a_message_that_arrives_in_two_parts_is_the_same_message(
    scene: Scene, observer: Observer, direction: Direction, size: int | None
):
    attempt = units(scene, observer, _raw, repeated=False)
    length = await scene._measure(direction, attempt)
    step = 1 if size is None else max(1, length // size)
    for count in range(scene.report.random.randrange(step), length, step):
        work, times = await attempt()
        scene.proxy.split_after(count, direction)
        assert await work() == "committed"
        scene.proxy.heal()
        assert await times() == {1}
        scene.report.count("splits", 1)


# ------------------------------------------------------------------------------------------------------------ seeded bugs


def _called(monkeypatch: pytest.MonkeyPatch, outcome: Outcome) -> None:
    async def resolve(*_: object, **__: object) -> Outcome:
        return outcome

    monkeypatch.setattr("timber.database.transaction.resolve_transaction", resolve)


@seeded_bug("a COMMIT whose answer is lost is called rolled back, and repeated")
async def test_a_repetition_of_what_was_committed_is_caught(
    scene: Scene, observer: Observer, monkeypatch: pytest.MonkeyPatch
):
    _called(monkeypatch, "rolled_back")
    await scene.everywhere("to_client", 40, units(scene, observer, _raw, repeated=True))
    with pytest.raises(AssertionError, match="duplicated"):
        scene.check()


@seeded_bug("a COMMIT whose connection is lost is called committed")
async def test_a_commit_that_never_was_is_caught(
    scene: Scene, observer: Observer, monkeypatch: pytest.MonkeyPatch
):
    _called(monkeypatch, "committed")
    await scene.everywhere("to_server", 80, units(scene, observer, _raw, repeated=False))
    with pytest.raises(AssertionError, match="lost"):
        scene.check()


@seeded_bug("a lost connection is not asked about")
async def test_outcomes_that_nobody_asks_for_are_caught(
    scene: Scene, observer: Observer, monkeypatch: pytest.MonkeyPatch
):
    _called(monkeypatch, "unknown")
    await scene.everywhere("to_client", 40, units(scene, observer, _raw, repeated=False))
    with pytest.raises(AssertionError, match="unresolved"):
        scene.check()


@seeded_bug("a lone write whose connection is lost is sent again without a look")
async def test_a_lone_write_sent_again_blindly_is_caught(
    scene: Scene, observer: Observer, monkeypatch: pytest.MonkeyPatch
):
    async def blind(*_: object) -> Verdict:
        return "rolled_back", ()

    monkeypatch.setattr("timber.database.lone._look", lambda *_: blind)
    await scene.everywhere("to_client", 40, lone(scene, observer, "update"))
    with pytest.raises(AssertionError, match="duplicated"):
        scene.check()
