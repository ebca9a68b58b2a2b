"""What instrumentation costs: the same read by Timbers that report nothing, to Prometheus, and to OpenTelemetry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from prometheus_client import CollectorRegistry
from sqlalchemy import URL

from benchmarks.comparisons import Comparison
from benchmarks.contenders import POOL_SIZE
from timber import Timber
from timber.integrations import opentelemetry, prometheus


class _Nowhere(SpanExporter):
    """What leaves the process is not what is timed here."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS


@asynccontextmanager
async def telemetry(url: URL) -> AsyncGenerator[Sequence[Comparison]]:
    """Comparisons of get by id with instrumentation off and on; ``off again`` shows what two equals differ by.

    OpenTelemetry with a span for every statement, with the sampler of most installations, for one trace in twenty, and with
    that and no metrics, which may as well go to Prometheus.
    """
    seldom = ParentBased(TraceIdRatioBased(0.05))
    providers: dict[str, tuple[Sampler, metrics.MeterProvider]] = {
        "opentelemetry": (ALWAYS_ON, _meters()),
        "sampled": (seldom, _meters()),
        "sampled spans alone": (seldom, metrics.NoOpMeterProvider()),
    }
    ways = ("off", "off again", "prometheus", *providers)
    async with AsyncExitStack() as stack:
        timbers = {way: await stack.enter_async_context(_timber(url)) for way in ways}
        await timbers["off"].db.create_all_tables()
        session = await timbers["off"].sessions.create_session("user-1", "research")
        prometheus.instrument(timbers["prometheus"], CollectorRegistry())
        for way, (sampler, meters) in providers.items():
            _instrument(timbers[way], sampler, meters, stack)
        yield [
            Comparison(
                f"telemetry_get_{tasks}",
                "get by id: instrumentation off and on",
                "off",
                {way: timber.sessions.repository.get for way, timber in timbers.items()},
                lambda count: [session.id] * count,
                tasks=tasks,
                bounds=dict.fromkeys(("prometheus", *providers), 1.15),
            )
            for tasks in (1, 32)
        ]


def _instrument(
    timber: Timber, sampler: Sampler, meters: metrics.MeterProvider, stack: AsyncExitStack
) -> None:
    tracers = TracerProvider(sampler)
    tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
    stack.callback(tracers.shutdown)
    opentelemetry.instrument(timber, tracer_provider=tracers, meter_provider=meters)


def _meters() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)


def _timber(url: URL) -> Timber:
    return Timber(
        url.render_as_string(hide_password=False),
        cache_enabled=False,
        pool_size=POOL_SIZE,
        max_overflow=0,
    )
