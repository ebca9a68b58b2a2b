"""A span for each unit of work, from its beginning to what became of it."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from timber.database.unit_of_work import units_around

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from timber import Timber
    from timber.database.moments import EndingUnit
    from timber.integrations.opentelemetry.afterwards import Afterwards


class TransactionSpans:
    """The units of work of one Timber as spans.

    A span of the caller's own, made inside a unit of work, is not its child: a unit of work may begin in one task and end in
    another, so it is nobody's current span. Statements are, unless such a span is around them.

    Args:
        timber: a running Timber.
        tracer: where spans go.
        attributes: what is true of every one.
        afterwards: where they are ended, after the statements in them.
    """

    def __init__(
        self, timber: Timber, tracer: Tracer, attributes: dict[str, Any], afterwards: Afterwards
    ) -> None:
        self._db = timber.db
        self._tracer = tracer
        self._afterwards = afterwards
        self._attributes = {**attributes, "db.operation.name": "TRANSACTION"}
        self._name = " ".join(["TRANSACTION", *filter(None, [attributes.get("db.namespace")])])
        self._open: WeakKeyDictionary[Any, tuple[Span, Span]] = WeakKeyDictionary()
        moments = self._db.moments
        moments.begun.append(self._begun)
        moments.after_commit.append(self._ended)
        moments.after_rollback.append(self._ended)

    def remove(self) -> None:
        """Make no more of them; those that are open are never ended."""
        moments = self._db.moments
        moments.begun.remove(self._begun)
        moments.after_commit.remove(self._ended)
        moments.after_rollback.remove(self._ended)
        self._open.clear()

    def context(self) -> Context | None:
        """Where a statement of the current task belongs: None for the context it is in."""
        if not self._open:
            return None
        for unit in units_around():
            if unit in self._open:
                span, around = self._open[unit]
                is_bare = trace.get_current_span() is around
                return trace.set_span_in_context(span) if is_bare else None
        return None

    def _begun(self, unit: EndingUnit) -> None:
        around = trace.get_current_span()
        span = self._tracer.start_span(self._name, self.context(), attributes=self._attributes)
        self._open[unit] = span, around

    def _ended(self, unit: EndingUnit) -> None:
        span, _ = self._open.pop(unit, (None, None))
        if span is not None and span.is_recording():
            self._afterwards.put_off(_end, span, time_ns(), str(unit.outcome), unit.writes)


def _end(span: Span, ended: int, outcome: str, writes: int) -> None:
    span.set_attributes({"timber.outcome": outcome, "timber.writes": writes})
    if outcome == "unknown":
        span.set_status(Status(StatusCode.ERROR))
    span.end(ended)
