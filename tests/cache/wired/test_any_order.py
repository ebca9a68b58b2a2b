"""Units of work, savepoints, writes, reads, cancellations in any order, held against a plain dictionary."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.cache.wired.house import REGISTRY, House
from timber import Timber, outcome_of

KEYS = range(4)
USERS = range(2)
NUMBERS = st.integers(0, 99)

Rows = dict[int, tuple[int, int]]
"""Key -> user and number."""
Work = Callable[[], Awaitable[Any]]


class Desk:
    """A task that does one thing after another, as the owner of a unit of work has to."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[Work, asyncio.Future[Any]]] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            work, future = await self._waiting.get()
            try:
                future.set_result(await work())
            except Exception as error:  # noqa: BLE001  # raised where it was asked for
                future.set_exception(error)

    async def do(self, work: Work) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((work, future))
        return await future

    async def leave(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Order(RuleBasedStateMachine):
    """One process: a unit of work that may be open, and everybody else."""

    def __init__(self, runner: asyncio.Runner, house: House, done: Counter[str]) -> None:
        super().__init__()
        self.done = done
        self._runner = runner
        self.house = house
        self.tasks = house.tasks
        self.keys: list[UUID] = [uuid4() for _ in KEYS]
        self.users = [f"user-{uuid4().hex}" for _ in USERS]
        self.committed: Rows = {}
        self.levels: list[Rows] = []
        self.locked: set[int] = set()
        self.unit: Any = None
        self.savepoints: list[Any] = []

    def run(self, work: Work) -> Any:
        return self._runner.run(work())

    @initialize()
    def begin_at_the_desk(self) -> None:
        async def sit_down() -> Desk:
            return Desk()

        self.desk = self.run(sit_down)

    def teardown(self) -> None:
        if self.unit is not None:
            self._end(commit=False)
        self.run(self.desk.leave)

    # What is done

    async def _put(self, rows: Rows, key: int, user: int, number: int) -> None:
        values = {"user_id": self.users[user], "number": number}
        if key in rows:
            await self.tasks.update(self.keys[key], values)
        else:
            await self.tasks.insert(values, id=self.keys[key])

    async def _seen(self, *, key: int, user: int) -> dict[str, Any]:
        """What the repository says about a row and a user."""
        row = await self.tasks.get_or_none(self.keys[key])
        listed = await self.tasks.find(user_id=self.users[user], order_by="number")
        return {
            "row": None if row is None else (row.user_id, row.number),
            "list": sorted((row.id, row.number) for row in listed),
            "count": await self.tasks.count(user_id=self.users[user]),
        }

    def _true(self, rows: Rows, *, key: int, user: int) -> dict[str, Any]:
        listed = sorted((self.keys[k], n) for k, (u, n) in rows.items() if u == user)
        row = rows.get(key)
        return {
            "row": None if row is None else (self.users[row[0]], row[1]),
            "list": listed,
            "count": len(listed),
        }

    # Everybody else

    @rule(key=st.sampled_from(KEYS), user=st.sampled_from(USERS))
    def read(self, key: int, user: int) -> None:
        seen = self.run(lambda: self._seen(key=key, user=user))
        self.done["read"] += 1
        assert seen == self._true(self.committed, key=key, user=user)

    @rule(key=st.sampled_from(KEYS), user=st.sampled_from(USERS), number=NUMBERS)
    def write_alone(self, key: int, user: int, number: int) -> None:
        if key not in self.locked:
            self.run(lambda: self._put(self.committed, key, user, number))
            self.committed[key] = user, number
            self.done["write"] += 1

    @rule(key=st.sampled_from(KEYS))
    def delete_alone(self, key: int) -> None:
        if key in self.committed and key not in self.locked:
            self.run(lambda: self.tasks.delete(self.keys[key], hard=True))
            del self.committed[key]
            self.done["delete"] += 1

    @rule(
        key=st.sampled_from(KEYS),
        user=st.sampled_from(USERS),
        number=NUMBERS,
        ticks=st.integers(0, 40),
        in_a_unit=st.booleans(),
    )
    def write_and_be_cancelled(
        self, key: int, user: int, number: int, ticks: int, in_a_unit: bool
    ) -> None:
        if key in self.locked:
            return

        async def work() -> None:
            if not in_a_unit:
                await self._put(self.committed, key, user, number)
                return
            async with self.house.timber.unit_of_work():
                await self._put(self.committed, key, user, number)

        async def cancelled() -> str | None:
            task = asyncio.create_task(work())
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as error:
                return outcome_of(error)
            return "committed"

        outcome = self.run(cancelled)
        assert outcome in ("committed", "rolled_back", None)
        self.done[f"cancelled: {outcome or 'nothing sent'}"] += 1
        if outcome == "committed":
            self.committed[key] = user, number

    # The unit of work

    @precondition(lambda self: self.unit is None)
    @rule()
    def begin(self) -> None:
        self.unit = self.house.timber.unit_of_work()
        self.run(lambda: self.desk.do(self.unit.__aenter__))
        self.done["begin"] += 1
        self.levels = [dict(self.committed)]

    @precondition(lambda self: self.unit is not None)
    @rule(key=st.sampled_from(KEYS), user=st.sampled_from(USERS), number=NUMBERS)
    def write_inside(self, key: int, user: int, number: int) -> None:
        rows = self._now()
        self.run(lambda: self.desk.do(lambda: self._put(rows, key, user, number)))
        self.done["write inside"] += 1
        rows[key] = user, number
        self.locked.add(key)

    @precondition(lambda self: self.unit is not None)
    @rule(number=NUMBERS)
    def write_many_inside(self, number: int) -> None:
        rows = self._now()
        mine = [self.keys[key] for key in rows if key in self.locked]
        where = self.tasks.where.id.in_(mine)
        self.run(lambda: self.desk.do(lambda: self.tasks.update_where({"number": number}, where)))
        self.done["write many inside"] += 1
        rows |= {key: (rows[key][0], number) for key in rows if key in self.locked}

    @precondition(lambda self: self.unit is not None)
    @rule(key=st.sampled_from(KEYS), user=st.sampled_from(USERS))
    def read_inside(self, key: int, user: int) -> None:
        seen = self.run(lambda: self.desk.do(lambda: self._seen(key=key, user=user)))
        self.done["read inside"] += 1
        assert seen == self._true(self._now(), key=key, user=user)

    @precondition(lambda self: self.unit is not None and len(self.savepoints) < 3)
    @rule()
    def begin_savepoint(self) -> None:
        self._now()

        async def enter() -> Any:
            return await self.unit.savepoint().__aenter__()

        self.savepoints.append(self.run(lambda: self.desk.do(enter)))
        self.done["savepoint"] += 1
        self.levels.append(dict(self.levels[-1]))

    @precondition(lambda self: bool(self.savepoints))
    @rule(keep=st.booleans())
    def end_savepoint(self, keep: bool) -> None:
        savepoint, rows = self.savepoints.pop(), self.levels.pop()
        error = None if keep else RuntimeError()

        async def leave() -> None:
            await savepoint.__aexit__(type(error) if error else None, error, None)

        self.run(lambda: self.desk.do(leave))
        self.done["savepoint kept" if keep else "savepoint undone"] += 1
        if keep:
            self.levels[-1] = rows

    @precondition(lambda self: self.unit is not None and not self.savepoints)
    @rule(commit=st.booleans())
    def end(self, commit: bool) -> None:
        self._end(commit=commit)

    def _end(self, *, commit: bool) -> None:
        while self.savepoints:
            self.end_savepoint(keep=False)
        error = None if commit else RuntimeError()
        unit, self.unit = self.unit, None

        async def leave() -> None:
            await unit.__aexit__(type(error) if error else None, error, None)

        self.run(lambda: self.desk.do(leave))
        self.done["commit" if commit else "rollback"] += 1
        if commit:
            assert unit.outcome == "committed"
            now = self._now()
            # What a savepoint has undone was not there before either.
            self.committed |= {key: now[key] for key in self.locked if key in now}
        self.locked.clear()

    def _now(self) -> Rows:
        """The rows as the unit of work sees them: others have committed meanwhile what it has not touched."""
        for rows in self.levels:
            for key in set(KEYS) - self.locked:
                if key in self.committed:
                    rows[key] = self.committed[key]
                else:
                    rows.pop(key, None)
        return self.levels[-1]


def _in_any_order(url: str, cache_url: str, steps: int) -> Counter[str]:
    """Do as many steps at least, and count them by what they are."""
    done: Counter[str] = Counter()

    async def start() -> Timber:
        return await Timber(url, registry=REGISTRY, cache_url=cache_url, pool_size=4).start()

    with asyncio.Runner() as runner:
        timber = runner.run(start())
        try:
            while done.total() < steps:
                # Examples have fewer steps than they may have.
                run_state_machine_as_test(
                    lambda: Order(runner, House(timber), done),
                    settings=settings(
                        max_examples=max(20, (steps - done.total()) // 40),
                        stateful_step_count=50,
                        deadline=None,
                        database=None,
                    ),
                )
        finally:
            runner.run(timber.close())
    print(done.total(), "steps:", ", ".join(f"{n} {what}" for what, n in done.most_common()))  # noqa: T201  # pytest -rP shows it
    return done


def _hold(done: Counter[str]) -> None:
    kinds = {"read", "read inside", "write", "write inside", "begin", "savepoint", "commit"}
    kinds |= {"rollback", "savepoint kept", "savepoint undone", "cancelled: committed"}
    assert kinds <= done.keys()


@pytest.mark.timeout(300)
def test_three_thousand_steps_in_any_order_show_what_a_dictionary_does(
    house_url: str, cache_url: str
) -> None:
    _hold(_in_any_order(house_url, cache_url, 3_000))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("level", ["redis", "memory"])
def test_a_hundred_thousand_steps_in_any_order_show_what_a_dictionary_does(
    house_url: str, cache_url: str, level: str
) -> None:
    _hold(_in_any_order(house_url, cache_url if level == "redis" else "memory", 100_000))
