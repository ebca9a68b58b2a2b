"""Every order of the steps of some coroutines, driven by hand: no event loop, no time, no chance.

A coroutine awaits :func:`step` before whatever others could notice. The search goes depth first and starts anew for each
order. Two steps that touch nothing in common are ordered once (sleep sets), so each run that is counted stands for all
the orders that no observer could tell apart.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

Touch = tuple[str, bool]
"""What is touched, and whether it is changed."""
OK = "ok"
SURROUNDINGS = frozenset({"fate", "redis", "postgres"})
"""Whose steps preempt nobody: they may come at any time."""

BEGINNING = 12
"""How many steps tell the parts of a search apart."""


def _always() -> bool:
    return True


@dataclass(slots=True)
class Step:
    """What a coroutine is about to do.

    Attributes:
        variants: how it can go; all but the first are faults and use up the budget.
    """

    label: str
    touches: frozenset[Touch]
    variants: tuple[str, ...] = (OK,)
    is_enabled: Callable[[], bool] = _always


@types.coroutine
def _pause(step: Step) -> Generator[Step, str, str]:
    return (yield step)


def touches(reads: Iterable[str] = (), writes: Iterable[str] = ()) -> frozenset[Touch]:
    return _touched(tuple(reads), tuple(writes))


@lru_cache(maxsize=4096)
def _touched(reads: tuple[str, ...], writes: tuple[str, ...]) -> frozenset[Touch]:
    return frozenset([*((name, False) for name in reads), *((name, True) for name in writes)])


async def step(
    label: str,
    touched: frozenset[Touch],
    variants: tuple[str, ...] = (OK,),
    is_enabled: Callable[[], bool] = _always,
) -> str:
    """Let the others run first, or not; the answer is how it goes."""
    return await _pause(Step(label, touched, variants, is_enabled))


@lru_cache(maxsize=65_536)
def are_independent(one: frozenset[Touch], other: frozenset[Touch]) -> bool:
    written = {name for name, is_write in one if is_write}
    for name, is_write in other:
        if name in written or (is_write and (name, False) in one):
            return False
    return True


@dataclass(slots=True)
class Thread:
    name: str
    coroutine: Coroutine[Any, Any, Any]
    is_daemon: bool
    process: str
    next: Step | None = None


class Threads:
    """The coroutines of one run."""

    def __init__(self) -> None:
        self.all: dict[str, Thread] = {}
        self._is_closing = False

    def add(
        self,
        name: str,
        coroutine: Coroutine[Any, Any, Any],
        process: str,
        *,
        is_daemon: bool = False,
    ) -> None:
        if self._is_closing:
            coroutine.close()  # what the dead leave behind dies with them
            return
        while name in self.all:
            name += "'"
        thread = Thread(name, coroutine, is_daemon, process)
        self.all[name] = thread
        self.resume(thread, None)

    def resume(self, thread: Thread, variant: str | None) -> None:
        try:
            thread.next = thread.coroutine.send(variant)
        except StopIteration:
            thread.next = None

    def kill(self, process: str | None = None) -> None:
        """End the threads of a process, or all."""
        self._is_closing = True
        for thread in self.all.values():
            if process is None or thread.process == process:
                thread.next = None
                thread.coroutine.close()
        self._is_closing = False


class Run:
    """What a scenario makes for each run: its threads, and what to look at when they are done."""

    threads: Threads

    def faults_left(self) -> int:
        return 0

    def use_fault(self, label: str) -> None:
        raise NotImplementedError

    def idle(self) -> bool:
        """Nobody can go on: let time pass; whether that helps."""
        return False

    def finish(self) -> None:
        """Look at the state at rest."""


Transition = tuple[str, str]


@dataclass(slots=True)
class _Node:
    enabled: list[Transition]
    touched: dict[Transition, frozenset[Touch]]
    sleep: dict[Transition, frozenset[Touch]]
    chosen: Transition
    done: dict[Transition, frozenset[Touch]] = field(default_factory=dict)
    preemptions: int = 0
    last: str | None = None


class StaleError(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Result:
    runs: int = 0
    pruned: int = 0
    steps: int = 0
    is_complete: bool = True
    violations: list[tuple[str, list[str]]] = field(default_factory=list)

    def __str__(self) -> str:
        cut = "" if self.is_complete else " (cut off)"
        return f"{self.runs} orders, {self.pruned} cut as equal, {self.steps} steps{cut}"


class Search:
    """Goes through every order.

    Args:
        make: a new run.
        preemptions: at most so many switches from one task to another that the first did not wait for; None for any number.
        limit: at most so many runs.
        part: which of how many parts of the orders, told apart by their beginnings; all parts together are all orders.
    """

    def __init__(
        self,
        make: Callable[[], Run],
        *,
        preemptions: int | None = None,
        limit: int = 1_000_000,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._make = make
        self._preemptions = preemptions
        self._limit = limit
        self._part = part
        self._beginnings = 0
        self._path: list[_Node] = []
        self.result = Result()

    def all(self, *, until_violation: bool = False) -> Result:
        while True:
            self._run()
            if until_violation and self.result.violations:
                break
            if self.result.runs + self.result.pruned >= self._limit:
                self.result.is_complete = False
                break
            if not self._next():
                break
        return self.result

    def _run(self) -> None:
        result = self.result
        run = self._make()
        trace: list[str] = []
        depth = 0
        try:
            while any(t.next is not None and not t.is_daemon for t in run.threads.all.values()):
                if depth == len(self._path):
                    node = self._explore(run)
                    if node is None:
                        if self._stuck(run):
                            if run.idle():
                                continue
                            raise StaleError("nobody can go on")
                        result.pruned += len(self._path) >= BEGINNING or not self._part[0]
                        return
                    self._path.append(node)
                    if len(self._path) == BEGINNING and self._is_elsewhere():
                        return
                node = self._path[depth]
                depth += 1
                name, variant = node.chosen
                thread = run.threads.all[name]
                assert thread.next is not None
                trace.append(f"{name}: {thread.next.label}{'' if variant == OK else ' ' + variant}")
                if variant != OK:
                    run.use_fault(variant)
                result.steps += 1
                run.threads.resume(thread, variant)
            run.finish()
            result.runs += 1
        except StaleError as error:
            result.runs += 1
            result.violations.append((str(error), trace))
        finally:
            run.threads.kill()

    def _is_elsewhere(self) -> bool:
        """Whether the beginning that has just been found belongs to another part: nothing below it is looked at here."""
        number, parts = self._part
        self._beginnings += 1
        is_elsewhere = self._beginnings % parts != number
        if is_elsewhere:
            self._path[-1].enabled = []
        return is_elsewhere

    def _stuck(self, run: Run) -> bool:
        return not any(t.next is not None and t.next.is_enabled() for t in run.threads.all.values())

    def _explore(self, run: Run) -> _Node | None:
        enabled: list[Transition] = []
        touched: dict[Transition, frozenset[Touch]] = {}
        for name, thread in run.threads.all.items():
            if thread.next is None or not thread.next.is_enabled():
                continue
            for variant in thread.next.variants:
                if variant != OK and not run.faults_left():
                    continue
                touched[name, variant] = thread.next.touches
                enabled.append((name, variant))
        above = self._path[-1] if self._path else None
        sleep: dict[Transition, frozenset[Touch]] = {}
        preemptions, last = 0, None
        if above is not None:
            moved = above.touched[above.chosen]
            is_fault = above.chosen[1] != OK
            for transition, its in {**above.sleep, **above.done}.items():
                # Two faults are dependent: they share one budget.
                both_faults = is_fault and transition[1] != OK
                if (
                    transition[0] != above.chosen[0]
                    and not both_faults
                    and are_independent(its, moved)
                ):
                    sleep[transition] = its
            last, preemptions = above.last, above.preemptions
            if run.threads.all[above.chosen[0]].process not in SURROUNDINGS:
                last = above.chosen[0]
                preemptions += (
                    above.last is not None
                    and above.last != last
                    and above.last in {name for name, _ in above.enabled}
                )
        if self._preemptions is not None and preemptions >= self._preemptions and last is not None:
            # No more preemptions: whoever ran goes on, as long as it can.
            mine = [t for t in enabled if t[0] == last]
            free = [t for t in enabled if run.threads.all[t[0]].process in SURROUNDINGS]
            enabled_now = [*mine, *free] if mine else enabled
        else:
            # Whoever ran goes on first: the first order has no preemption.
            enabled_now = sorted(enabled, key=lambda t: t[0] != last)
        node = _Node(enabled_now, touched, sleep, ("", ""), {}, preemptions, last)
        for transition in enabled_now:
            if transition not in sleep:
                node.chosen = transition
                return node
        return None

    def _next(self) -> bool:
        """Turn the deepest node that has another choice left."""
        while self._path:
            node = self._path[-1]
            node.done[node.chosen] = node.touched[node.chosen]
            for transition in node.enabled:
                if transition not in node.done and transition not in node.sleep:
                    node.chosen = transition
                    return True
            self._path.pop()
        return False


def drive(run: Run, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run one coroutine to its end, alone."""
    variant: str | None = None
    try:
        while True:
            waiting = coroutine.send(variant)
            if not waiting.is_enabled():
                run.idle()
                if not waiting.is_enabled():
                    raise StaleError(f"cannot go on: {waiting.label}")
            variant = OK
    except StopIteration as end:
        return end.value
