"""What the database layer tells of itself: statements as they ran, slow ones, the pool."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from timber.database.unit_of_work import UnitOfWork

logger = logging.getLogger("timber.sql")


class PoolStatus(TypedDict):
    """The pool at this moment: counts of connections, and the seconds one waits for a free one."""

    pool_size: int
    checked_in: int
    checked_out: int
    overflow: int
    timeout: float


@dataclass(slots=True)
class Moments:
    """Where other layers hook in; each list is called in order.

    ``session_made`` and ``before_execute`` see what the ORM does, ``before_commit`` and the others each outermost unit of
    work. A callback of ``before_commit`` that raises rolls back; the later ones run when the outcome is settled.
    """

    session_made: list[Callable[[AsyncSession], object]] = field(default_factory=list)
    before_execute: list[Callable[[Any], object]] = field(default_factory=list)
    before_commit: list[Callable[[UnitOfWork], Any]] = field(default_factory=list)
    after_commit: list[Callable[[UnitOfWork], Any]] = field(default_factory=list)
    after_rollback: list[Callable[[UnitOfWork], Any]] = field(default_factory=list)


class Monitor:
    """Logs statements without their parameters and passes them on to listeners."""

    __slots__ = ("_quiet", "echo", "listeners", "slow_seconds")

    def __init__(self, *, slow_seconds: float, echo: bool) -> None:
        self.slow_seconds = slow_seconds
        self.echo = echo
        self.listeners: list[Callable[[str, str, float], object]] = []
        """Called with label, SQL text and seconds of every statement."""

    def ran(self, label: str, sql: str, seconds: float) -> None:
        """Take note of a statement that has run, or failed."""
        if seconds >= self.slow_seconds:
            logger.warning("Slow query (%.3f s), %s: %s", seconds, label, sql)
        elif self.echo:
            logger.info("%s (%.1f ms): %s", label, seconds * 1000, sql)
        for listener in self.listeners:
            listener(label, sql, seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """A parsed query plan, as of ``EXPLAIN (FORMAT JSON)``."""

    root: dict[str, Any]

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
