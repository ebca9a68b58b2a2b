"""What the database layer tells of itself: statements as they ran, slow ones, the pool."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from timber.settings import TimberSettings


logger: logging.Logger = logging.getLogger("timber.sql")


class PoolStatus(TypedDict):
    """The pool at this moment: counts of connections, and the seconds one waits for a free one."""

    pool_size: int
    checked_in: int
    checked_out: int
    overflow: int
    timeout: float


def pool_status(pool: Any, settings: TimberSettings, checked_out: int) -> PoolStatus:
    """What a pool says of itself, or what we know of one that says nothing."""
    return PoolStatus(
        pool_size=pool.size() if hasattr(pool, "size") else settings.pool_size,
        checked_in=pool.checkedin() if hasattr(pool, "checkedin") else 0,
        checked_out=pool.checkedout() if hasattr(pool, "checkedout") else checked_out,
        overflow=max(0, pool.overflow()) if hasattr(pool, "overflow") else 0,
        timeout=settings.pool_timeout,
    )


class Ran(NamedTuple):
    """A statement that has run, or failed.

    Attributes:
        label: ``verb model``, such as ``get Session``; ``session`` of an ORM session.
        sql: its text, with ``$1`` for parameters; an ORM session's may hold what its author wrote into it.
        error: what it failed with, as the driver raised it.
    """

    label: str
    sql: str
    seconds: float
    error: BaseException | None


class Monitor:
    """Logs statements without their parameters and passes them on to listeners.

    Attributes:
        listeners: called with label, SQL text and seconds of every statement.
        observers: called with every statement as a :class:`Ran`, in the task that sent it.
        slow: called with label and SQL text of those that were slow.
        retries: how often work was repeated, by what was in its way.
    """

    __slots__ = ("echo", "listeners", "observers", "retries", "slow", "slow_seconds")

    def __init__(self, *, slow_seconds: float, echo: bool) -> None:
        self.slow_seconds: float = slow_seconds
        self.echo: bool = echo
        self.listeners: list[Callable[[str, str, float], object]] = []
        self.observers: list[Callable[[Ran], object]] = []
        self.slow: Callable[[str, str], object] | None = None
        self.retries: Counter[str] = Counter()

    def ran(self, label: str, sql: str, seconds: float, error: BaseException | None = None) -> None:
        """Take note of a statement that has run, or failed."""
        if seconds >= self.slow_seconds:
            logger.warning("Slow query (%.3f s), %s: %s", seconds, label, sql)
            if self.slow is not None:
                self.slow(label, sql)
        elif self.echo:
            logger.info("%s (%.1f ms): %s", label, seconds * 1000, sql)
        for listener in self.listeners:
            listener(label, sql, seconds)
        if self.observers:
            ran = Ran(label, sql, seconds, error)
            for observer in self.observers:
                observer(ran)


@dataclass(frozen=True, slots=True)
class Plan:
    """A parsed query plan, as of ``EXPLAIN (FORMAT JSON)``."""

    root: dict[str, Any]

    @classmethod
    def parse(cls, answer: object) -> Plan:
        """The plan in what PostgreSQL answers."""
        explained: Any = orjson.loads(answer) if isinstance(answer, str) else answer
        return cls(explained[0]["Plan"])

    def nodes(self) -> list[dict[str, Any]]:
        """Every node, the root first."""
        found = [self.root]
        for node in found:
            found.extend(node.get("Plans", ()))
        return found

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes it uses."""
        return [node["Index Name"] for node in self.nodes() if "Index Name" in node]

    @property
    def cost(self) -> float:
        """The planner's estimate of the total cost."""
        return float(self.root["Total Cost"])

    def __str__(self) -> str:
        lines: list[str] = []
        pending = [(self.root, 0)]
        while pending:
            node, depth = pending.pop()
            name = node["Node Type"]
            if "Index Name" in node:
                name += f" using {node['Index Name']}"
            if "Relation Name" in node:
                name += f" on {node['Relation Name']}"
            lines.append("  " * depth + name)
            pending += [(child, depth + 1) for child in reversed(node.get("Plans", []))]
        return "\n".join(lines)
