"""What a run found out, and how it stands against the aims."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.agreement import Traffic
    from benchmarks.comparisons import Compared
    from benchmarks.estimates import Estimate
    from benchmarks.harness import Measurement
    from benchmarks.memory import StreamMemory
    from benchmarks.operations import Operation

TITLES = {
    "limit": "asyncpg pool",
    "timber": "Timber",
    "core": "SQLAlchemy Core",
    "orm": "SQLAlchemy ORM",
}


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure, what it should be, and whether it is."""

    what: str
    figure: Estimate
    bound: float
    at_most: bool

    @property
    def reached(self) -> bool:
        figure = self.figure.median
        return figure <= self.bound if self.at_most else figure >= self.bound

    @property
    def text(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Line:
    """One operation, one after another or with several tasks."""

    operation: Operation
    measurement: Measurement

    @property
    def tasks(self) -> int:
        return self.measurement.tasks

    def ratio(self, contender: str) -> Estimate:
        """The contender's time divided by the limit's."""
        return self.measurement.ratio(contender, "limit")

    @property
    def aim(self) -> Aim | None:
        bound = self.operation.bound
        if bound is None:
            return None
        return Aim(self._what("Timber / limit"), self.ratio("timber"), bound, at_most=True)

    @property
    def orm_aim(self) -> Aim | None:
        factor = self.operation.orm_factor
        if factor is None or self.tasks == 1:
            return None
        figure = self.measurement.ratio("orm", "timber")
        return Aim(self._what("ORM / Timber"), figure, factor, at_most=False)

    def _what(self, quotient: str) -> str:
        return f"{quotient}, {self.operation.title}, {mode(self.tasks)}"


@dataclass(slots=True)
class Results:
    """A whole run."""

    environment: dict[str, str]
    rounds: int
    lines: list[Line] = field(default_factory=list)
    traffic: dict[str, dict[str, Traffic]] = field(default_factory=dict)
    """By operation and contender."""
    memory: StreamMemory | None = None
    compared: list[Compared] = field(default_factory=list)

    @property
    def operations(self) -> list[Operation]:
        return list(dict.fromkeys(line.operation for line in self.lines))

    def line(self, operation: Operation, tasks: int) -> Line | None:
        for line in self.lines:
            if line.operation is operation and line.tasks == tasks:
                return line
        return None


def mode(tasks: int) -> str:
    return "sequential" if tasks == 1 else f"{tasks} tasks"
