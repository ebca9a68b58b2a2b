"""Metrics for Prometheus: statements, the pool, retries, the cache, and the work that is left for workers."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

from timber.database.waits import BOUNDS
from timber.integrations.describing import describe, error_type
from timber.integrations.figures import cache_reads, is_running
from timber.integrations.jobs import JobFigures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from timber import Timber
    from timber.database.monitoring import Ran
    from timber.database.waits import Waits

_LIMITS: Final = (*map(str, BOUNDS), "+Inf")


class _Timing:
    """How long the statements of one kind took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_LIMITS)
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        for place, bound in enumerate(BOUNDS):
            if seconds <= bound:
                self.buckets[place] += 1
                break
        else:
            self.buckets[-1] += 1
        self.seconds += seconds


class Instrumentation(Collector):
    """What reports of one running Timber; :func:`instrument` makes it.

    Args:
        timber: a running Timber.
        registry: where the metrics are collected.
    """

    def __init__(self, timber: Timber, registry: CollectorRegistry) -> None:
        self._timber = timber
        self._registry = registry
        self._timings: dict[tuple[str, str], _Timing] = {}
        self._errors: dict[tuple[str, str, str], int] = {}
        self._jobs = JobFigures(timber)
        timber.db.monitor.observers.append(self._ran)
        registry.register(self)

    def remove(self) -> None:
        """Report nothing any more."""
        self._jobs.stop()
        if is_running(self._timber) and self._ran in self._timber.db.monitor.observers:
            self._timber.db.monitor.observers.remove(self._ran)
        self._registry.unregister(self)

    async def refresh(self) -> None:
        """Ask the database now how much work is left for workers, where a scrape is answered by the event loop."""
        await self._jobs.refresh()

    def _ran(self, ran: Ran) -> None:
        described = describe(ran.sql)
        key = (described.operation, described.table)
        timing = self._timings.get(key)
        if timing is None:
            timing = self._timings[key] = _Timing()
        timing.note(ran.seconds)
        failed = error_type(ran)
        if failed is not None:
            self._errors[(*key, failed)] = self._errors.get((*key, failed), 0) + 1

    # Collecting

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on what has been done."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        yield self._statements()
        yield self._failures()
        if is_running(self._timber):
            yield from self._pool()
            yield self._retries()
            yield self._cache()
            yield self._work()

    def _statements(self) -> Metric:
        metric = HistogramMetricFamily(
            "timber_statement_seconds", "How long statements took.", labels=["operation", "table"]
        )
        for key, timing in list(self._timings.items()):
            metric.add_metric(key, _cumulative(timing.buckets), timing.seconds)
        return metric

    def _failures(self) -> Metric:
        metric = CounterMetricFamily(
            "timber_statement_errors",
            "Statements that failed, by SQLSTATE or kind of error.",
            labels=["operation", "table", "error"],
        )
        for key, number in list(self._errors.items()):
            metric.add_metric(key, number)
        return metric

    def _pool(self) -> Iterator[Metric]:
        db, settings = self._timber.db, self._timber.settings
        status, waits = db.get_pool_status(), db.pool_waits
        connections = GaugeMetricFamily(
            "timber_pool_connections", "Connections of the pool.", labels=["state"]
        )
        connections.add_metric(["used"], status["checked_out"])
        connections.add_metric(["idle"], status["checked_in"])
        yield connections
        yield GaugeMetricFamily(
            "timber_pool_connections_max",
            "Connections that the pool may open.",
            value=settings.pool_size + settings.max_overflow,
        )
        yield GaugeMetricFamily(
            "timber_pool_waiting", "Callers that wait for a connection.", value=waits.waiting
        )
        yield _wait_seconds(waits)
        refused = CounterMetricFamily(
            "timber_pool_refusals", "Callers that got no connection.", labels=["why"]
        )
        refused.add_metric(["timeout"], waits.timed_out)
        refused.add_metric(["queue_full"], waits.refused)
        yield refused

    def _retries(self) -> Metric:
        metric = CounterMetricFamily(
            "timber_retries", "Work that was repeated, by what was in its way.", labels=["trouble"]
        )
        for trouble, number in self._timber.db.monitor.retries.items():
            metric.add_metric([trouble], number)
        return metric

    def _cache(self) -> Metric:
        metric = CounterMetricFamily(
            "timber_cache_reads",
            "Reads through the cache, by what became of them at each level.",
            labels=["level", "model", "outcome"],
        )
        for reads in cache_reads(self._timber):
            metric.add_metric([reads.level, reads.model, reads.outcome], reads.number)
        return metric

    def _work(self) -> Metric:
        metric = GaugeMetricFamily(
            "timber_jobs",
            "The work of workers: what is left, how old the oldest of it is.",
            labels=["job", "figure"],
        )
        for job, figures in self._jobs.look().items():
            for name, value in figures.items():
                metric.add_metric([job, name], value)
        return metric


def instrument(timber: Timber, registry: CollectorRegistry = REGISTRY) -> Instrumentation:
    """Report metrics of a running Timber, until ``remove()`` is called.

    Args:
        registry: where the metrics are collected; the global one where nothing is said.

    Raises:
        UsageError: the Timber has not been started.
    """
    return Instrumentation(timber, registry)


def _wait_seconds(waits: Waits) -> Metric:
    metric = HistogramMetricFamily(
        "timber_pool_wait_seconds", "How long callers waited for a connection, those that had to."
    )
    metric.add_metric([], _cumulative(waits.buckets), waits.seconds)
    return metric


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    return list(zip(_LIMITS, map(float, accumulate(buckets)), strict=True))
