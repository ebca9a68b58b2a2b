"""Cancelled at every await of every scope shape: nothing is lost, held or poisoned, and the outcome is the truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.database.cancelling import (
    DROPPING,
    KEEPING,
    TIMINGS,
    Mechanism,
    Steps,
    Timing,
    by_cancel,
)
from tests.database.conftest import MakeDb
from tests.database.ledger import IN_TRANSACTION, Observer, assert_nothing_is_held, insert
from tests.database.scene import Scene, Shape
from tests.database.shapes import (
    SCARCE,
    SHAPES,
    callbacks,
    callbacks_that_write,
    independent,
    lone_insert,
    lone_read,
    lone_update,
    one_write,
    orm_with_savepoints,
    run,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of

Record = Callable[[str, object], None]
by_name: Any = {"ids": lambda value: getattr(value, "__name__", value)}


async def schedules(
    db: AsyncDatabaseManager,
    observer: Observer,
    shape: Shape,
    mechanism: Mechanism,
    timing: Timing,
    *,
    cold: bool = False,
) -> Counter[str]:
    """Cut the shape off at each of its suspensions in turn, and look at what is left each time."""
    counts: Counter[str] = Counter()
    at = 0
    while True:
        at += 1
        scene = Scene(db)
        await scene.prepare()
        if cold:
            await db.dispose()
        steps = Steps(at, timing)
        outer: BaseException | None = None
        try:
            await mechanism(steps, lambda scene=scene: scene.run(shape))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001  # looked at below
            outer = error
        await _verify(db, observer, scene)
        if not steps.fired:
            assert outer is None, "without a cancellation it ends well"
            return counts
        if mechanism is by_cancel:
            assert isinstance(outer, asyncio.CancelledError), "a cancellation is never swallowed"
        if mechanism in DROPPING:
            assert outcome_of(outer) is None
        elif scene.error is not None:
            assert outcome_of(outer) == outcome_of(scene.error)
        if scene.called or shape in {callbacks, callbacks_that_write}:
            assert scene.outermost is not None
            wanted = {callbacks: 2, callbacks_that_write: 1}[shape]
            assert scene.called == (wanted if scene.outermost.outcome == "committed" else 0)
        counts["schedules"] += 1
        counts[str(outcome_of(scene.error) if scene.error else "committed, not cut off")] += 1


async def _verify(db: AsyncDatabaseManager, observer: Observer, scene: Scene) -> None:
    await scene.verify(observer)
    assert_nothing_is_held(db)
    await observer.wait_until_idle(db.settings.application_name)
    assert (await db.fetch(IN_TRANSACTION))[0]["xid"] is None
    assert await insert(db) in await observer.keys(), "the next user's write is there at once"
    assert (await observer.value("SELECT count(*) FROM pg_prepared_xacts")) == 0


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("shape", SHAPES, **by_name)
async def test_cancelled_at_every_await(
    db: AsyncDatabaseManager,
    observer: Observer,
    shape: Shape,
    timing: Timing,
    record_property: Record,
):
    counts = await schedules(db, observer, shape, by_cancel, timing)
    record_property("counts", dict(counts))


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("shape", SCARCE, **by_name)
async def test_cancelled_while_waiting_for_a_connection(
    make_db: MakeDb, observer: Observer, shape: Shape, timing: Timing, record_property: Record
):
    for size in (1, 2):
        db = make_db(pool_size=size, max_overflow=0)
        counts = await schedules(db, observer, shape, by_cancel, timing)
        record_property("counts", dict(counts))


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize(
    "shape", [one_write, lone_read, lone_insert, orm_with_savepoints], **by_name
)
async def test_cancelled_while_connecting(
    db: AsyncDatabaseManager,
    observer: Observer,
    shape: Shape,
    timing: Timing,
    record_property: Record,
):
    counts = await schedules(db, observer, shape, by_cancel, timing, cold=True)
    record_property("counts", dict(counts))


@pytest.mark.parametrize("timing", TIMINGS)
async def test_cancelled_while_asking_an_idle_connection_whether_it_lives(
    make_db: MakeDb, observer: Observer, timing: Timing, record_property: Record
):
    db = make_db(ping_after=1e-6)
    for shape in (one_write, lone_insert):
        counts = await schedules(db, observer, shape, by_cancel, timing)
        record_property("counts", dict(counts))


@pytest.mark.parametrize("mechanism", [*KEEPING, *DROPPING], **by_name)
@pytest.mark.parametrize(
    "shape", [one_write, independent, orm_with_savepoints, lone_insert, lone_update, run], **by_name
)
async def test_cut_off_by_every_kind_of_scope(
    db: AsyncDatabaseManager,
    observer: Observer,
    shape: Shape,
    mechanism: Mechanism,
    record_property: Record,
):
    counts = await schedules(db, observer, shape, mechanism, "early")
    record_property("counts", dict(counts))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mechanism", [*KEEPING, *DROPPING], **by_name)
@pytest.mark.parametrize("shape", SHAPES, **by_name)
async def test_every_shape_cut_off_by_every_kind_of_scope(
    db: AsyncDatabaseManager,
    observer: Observer,
    shape: Shape,
    mechanism: Mechanism,
    record_property: Record,
):
    for timing in ("early", "late"):
        counts = await schedules(db, observer, shape, mechanism, timing)
        record_property("counts", dict(counts))
