"""Spans and metrics by OpenTelemetry's stable conventions for databases. Parameters and values are in none of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from timber.integrations.describing import describe, error_type
from timber.integrations.figures import cache_reads, is_running
from timber.integrations.jobs import JobFigures
from timber.integrations.opentelemetry.afterwards import Afterwards
from timber.integrations.opentelemetry.transactions import TransactionSpans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
    from opentelemetry.trace import TracerProvider

    from timber import Timber
    from timber.database.monitoring import Ran

_NAME: Final = "timber"
_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""The buckets that the conventions advise."""


_MOST_KINDS: Final = 2048


class _Kind(NamedTuple):
    """What is the same of every statement with one text."""

    summary: str
    measured: dict[str, Any]
    described: dict[str, Any]


class Instrumentation:
    """What reports of one running Timber; :func:`instrument` makes it.

    Args:
        timber: a running Timber.
        tracer_provider: where spans go; the global one where nothing is said.
        meter_provider: where metrics go; the global one where nothing is said.
        query_text: whether spans carry the text of statements, with every value in it replaced.
        transactions: whether each unit of work is a span too, around those of its statements.
    """

    def __init__(
        self,
        timber: Timber,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        query_text: bool = True,
        transactions: bool = False,
    ) -> None:
        self._timber = timber
        self._query_text = query_text
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        self._meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._always = _of_server(timber)
        self._pool = {
            "db.client.connection.pool.name": timber.settings.application_name,
            **self._always,
        }
        self._jobs = JobFigures(timber)
        self._afterwards = Afterwards()
        self._transactions: TransactionSpans | None = None
        if transactions:
            self._transactions = TransactionSpans(
                timber, self._tracer, self._always, self._afterwards
            )
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._is_on = True
        self._durations = self._histogram(
            "db.client.operation.duration", "Duration of database client operations."
        )
        self._waits = self._histogram(
            "db.client.connection.wait_time",
            "The time it took to obtain a connection that was not free at once.",
        )
        self._observe()
        timber.db.monitor.observers.append(self._ran)
        timber.db.pool_waits.listeners.append(self._waited)
        timber.db.moments.closed.append(self.flush)

    def remove(self) -> None:
        """Report nothing any more."""
        if not self._is_on:
            return
        self._is_on = False
        self._jobs.stop()
        if not is_running(self._timber):
            return
        self._timber.db.monitor.observers.remove(self._ran)
        self._timber.db.pool_waits.listeners.remove(self._waited)
        self._timber.db.moments.closed.remove(self.flush)
        if self._transactions is not None:
            self._transactions.remove()
        self.flush()

    def flush(self) -> None:
        """Pass on to OpenTelemetry what ended in the last few milliseconds, which otherwise happens by itself a moment later."""
        self._afterwards.flush()

    async def refresh(self) -> None:
        """Ask the database now how much work is left for workers, where metrics are collected by the event loop."""
        self.flush()
        await self._jobs.refresh()

    # Statements

    def _ran(self, ran: Ran) -> None:
        within = self._transactions.context() if self._transactions is not None else None
        self._afterwards.put_off(self._report, ran, time.time_ns(), within)

    def _report(self, ran: Ran, ended: int, within: Context | None) -> None:
        kind = self._kinds.get((ran.sql, ran.label))
        if kind is None:
            kind = self._kind(ran.sql, ran.label)
        failed = None if ran.error is None else error_type(ran)
        measured = kind.measured if failed is None else {**kind.measured, "error.type": failed}
        self._durations.record(ran.seconds, measured)
        span = self._tracer.start_span(
            kind.summary,
            within,
            kind=SpanKind.CLIENT,
            attributes=kind.described,
            start_time=ended - int(ran.seconds * 1e9),
        )
        if not span.is_recording():
            return
        if failed is not None:
            span.set_attribute("error.type", failed)
            if len(failed) == 5:
                span.set_attribute("db.response.status_code", failed)
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def _kind(self, sql: str, label: str) -> _Kind:
        described = describe(sql)
        measured: dict[str, Any] = {
            **self._always,
            "db.operation.name": described.operation,
            "db.query.summary": described.summary,
        }
        if described.table:
            measured["db.collection.name"] = described.table
        attributes = {**measured, "timber.operation": label}
        if self._query_text:
            attributes["db.query.text"] = described.text
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        kind = self._kinds[sql, label] = _Kind(described.summary, measured, attributes)
        return kind

    def _waited(self, seconds: float) -> None:
        self._afterwards.put_off(self._waits.record, seconds, self._pool)

    # Figures that are asked for

    def _observe(self) -> None:
        meter, pool = self._meter, self._pool
        db, settings = self._timber.db, self._timber.settings

        def connections() -> Iterable[tuple[float, Mapping[str, Any]]]:
            status = db.get_pool_status()
            yield status["checked_out"], {**pool, "db.client.connection.state": "used"}
            yield status["checked_in"], {**pool, "db.client.connection.state": "idle"}

        def retries() -> Iterable[tuple[float, Mapping[str, Any]]]:
            for trouble, number in db.monitor.retries.items():
                yield number, {**self._always, "timber.trouble": trouble}

        def jobs() -> Iterable[tuple[float, Mapping[str, Any]]]:
            for work, figures in self._jobs.look().items():
                for name, value in figures.items():
                    yield value, {"timber.job": work, "timber.figure": name}

        most = settings.pool_size + settings.max_overflow
        up_down, counter = (
            meter.create_observable_up_down_counter,
            meter.create_observable_counter,
        )
        up_down("db.client.connection.count", [self._asked(connections)], unit="{connection}")
        up_down(
            "db.client.connection.idle.max",
            [self._asked(lambda: [(settings.pool_size, pool)])],
            unit="{connection}",
        )
        up_down(
            "db.client.connection.max", [self._asked(lambda: [(most, pool)])], unit="{connection}"
        )
        up_down(
            "db.client.connection.pending_requests",
            [self._asked(lambda: [(db.pool_waits.waiting, pool)])],
            unit="{request}",
        )
        counter(
            "db.client.connection.timeouts",
            [self._asked(lambda: [(db.pool_waits.timed_out + db.pool_waits.refused, pool)])],
            unit="{timeout}",
        )
        counter("timber.retries", [self._asked(retries)], unit="{retry}")
        counter("timber.cache.reads", [self._asked(self._cache_reads)], unit="{read}")
        meter.create_observable_gauge("timber.jobs", [self._asked(jobs)])

    def _cache_reads(self) -> Iterable[tuple[float, Mapping[str, Any]]]:
        for reads in cache_reads(self._timber):
            yield (
                reads.number,
                {
                    "timber.cache.level": reads.level,
                    "timber.model": reads.model,
                    "timber.cache.outcome": reads.outcome,
                },
            )

    def _asked(
        self, figures: Callable[[], Iterable[tuple[float, Mapping[str, Any]]]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def answer(_options: CallbackOptions) -> Iterable[Observation]:
            if not self._is_on or not is_running(self._timber):
                return []
            return [metrics.Observation(value, attributes) for value, attributes in figures()]

        return answer

    def _histogram(self, name: str, description: str) -> Histogram:
        return self._meter.create_histogram(
            name,
            unit="s",
            description=description,
            explicit_bucket_boundaries_advisory=_SECONDS,
        )


def instrument(
    timber: Timber,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    query_text: bool = True,
    transactions: bool = False,
) -> Instrumentation:
    """Report spans and metrics of a running Timber, until it is closed or ``remove()`` is called.

    Args:
        tracer_provider: where spans go; the global one where nothing is said.
        meter_provider: where metrics go; the global one where nothing is said.
        query_text: whether spans carry the text of statements, with every value in it replaced.
        transactions: whether each unit of work is a span too, around those of its statements.

    Raises:
        UsageError: the Timber has not been started.
    """
    return Instrumentation(
        timber,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        query_text=query_text,
        transactions=transactions,
    )


def _of_server(timber: Timber) -> dict[str, Any]:
    url = timber.db.engine.url
    found: dict[str, Any] = {"db.system.name": "postgresql"}
    if url.database:
        found["db.namespace"] = url.database
    if url.host:
        found["server.address"] = url.host
        if url.port not in (None, 5432):
            found["server.port"] = url.port
    return found
