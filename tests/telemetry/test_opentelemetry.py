"""Spans and metrics as the stable conventions for databases have them, with no value in any of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from timber import ConflictError, ResearchCreate, Timber, UsageError
from timber.database.statements import Statement
from timber.integrations.opentelemetry import Instrumentation, instrument

SECRET = "geheim-4711"


class Telemetry:
    """What was reported of one Timber."""

    def __init__(self, timber: Timber, **options: Any) -> None:
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader])
        self.on: Instrumentation = instrument(
            timber, tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    def finished(self) -> tuple[ReadableSpan, ...]:
        self.on.flush()
        return self.spans.get_finished_spans()

    def named(self, name: str) -> list[Any]:
        return [span for span in self.finished() if span.name == name]

    def metric(self, name: str) -> list[Any]:
        self.on.flush()
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def everything(self) -> str:
        spans = [span.to_json() for span in self.finished()]
        data = self.reader.get_metrics_data()
        return json.dumps(spans) + (data.to_json() if data else "")


@pytest.fixture
def telemetry(timber: Timber) -> Generator[Telemetry]:
    telemetry = Telemetry(timber)
    yield telemetry
    telemetry.on.remove()
    telemetry.meters.shutdown()
    telemetry.tracers.shutdown()


async def test_each_statement_is_a_span_within_that_of_its_caller(
    timber: Timber, telemetry: Telemetry
) -> None:
    with telemetry.tracers.get_tracer("handler").start_as_current_span("request") as request:
        session = await timber.sessions.create_session("u", "research")
        await timber.sessions.get_session(session.id)
    [written] = telemetry.named("INSERT sessions")
    [read] = telemetry.named("SELECT sessions")
    for span, operation in ((written, "INSERT"), (read, "SELECT")):
        assert span.kind is SpanKind.CLIENT
        assert span.parent.span_id == request.get_span_context().span_id
        assert span.attributes["db.system.name"] == "postgresql"
        assert span.attributes["db.operation.name"] == operation
        assert span.attributes["db.collection.name"] == "sessions"
        assert span.attributes["db.query.summary"] == span.name
        assert "$1" in span.attributes["db.query.text"]
        assert 0 < span.end_time - span.start_time < 60e9
    assert read.attributes["timber.operation"] == "get Session"


async def test_a_failed_statement_says_with_what_sqlstate(
    timber: Timber, telemetry: Telemetry
) -> None:
    session = await timber.sessions.create_session("u", "research")
    with pytest.raises(ConflictError):
        await timber.sessions.repository.insert(
            {"user_id": "u", "session_type": "research"}, id=session.id
        )
    failed = telemetry.named("INSERT sessions")[-1]
    assert failed.status.status_code is StatusCode.ERROR
    assert (
        failed.attributes["error.type"] == failed.attributes["db.response.status_code"] == "23505"
    )
    errors = [
        p for p in telemetry.metric("db.client.operation.duration") if "error.type" in p.attributes
    ]
    assert [point.count for point in errors] == [1]


async def test_no_value_is_in_anything_that_is_reported(
    timber: Timber, telemetry: Telemetry
) -> None:
    session = await timber.sessions.create_session(SECRET, "research", {"symbol": SECRET})
    await timber.research.save_many(
        ResearchCreate(session_id=session.id, research_type="n", content={"a": SECRET})
        for _ in "ab"
    )
    async with timber.unit_of_work() as uow:
        await uow.session.execute(sa.text(f"SELECT id FROM sessions WHERE user_id = '{SECRET}'"))
    with pytest.raises(ConflictError):
        await timber.sessions.repository.insert(
            {"user_id": SECRET, "session_type": SECRET}, id=session.id
        )
    reported = telemetry.everything()
    assert "INSERT sessions" in reported
    assert SECRET not in reported


async def test_statements_are_timed_by_operation_and_table(
    timber: Timber, telemetry: Telemetry
) -> None:
    await timber.sessions.create_session("u", "research")
    for _ in range(3):
        await timber.sessions.get_user_sessions("u")
    counts = {
        point.attributes["db.query.summary"]: point.count
        for point in telemetry.metric("db.client.operation.duration")
    }
    assert counts["INSERT sessions"] == 1
    assert counts["SELECT sessions"] == 3


async def test_the_pool_is_reported_and_waits_for_it(database_url: str, clean_tables: None) -> None:
    async with Timber(database_url, pool_size=2, max_overflow=0) as timber:
        telemetry = Telemetry(timber)
        slow = Statement("SELECT pg_sleep(0.05)", label="slow")
        await asyncio.gather(*(timber.db.fetch(slow) for _ in range(6)))
        states = {
            point.attributes["db.client.connection.state"]: point.value
            for point in telemetry.metric("db.client.connection.count")
        }
        assert states["used"] == 0
        assert states["idle"] in (1, 2)
        assert [p.value for p in telemetry.metric("db.client.connection.max")] == [2]
        [waits] = telemetry.metric("db.client.connection.wait_time")
        assert waits.count >= 4
        assert waits.sum > 0.05
        telemetry.on.remove()
        telemetry.meters.shutdown()


async def test_repetitions_are_counted_by_what_was_in_the_way(
    timber: Timber, telemetry: Telemetry
) -> None:
    failing = Statement("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$", label="x")
    tries = 0

    async def body(_uow: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            await timber.db.fetch(failing)

    await timber.run(body)
    [retries] = telemetry.metric("timber.retries")
    assert (retries.attributes["timber.trouble"], retries.value) == ("conflict", 2)


async def test_once_removed_it_reports_nothing_any_more(
    timber: Timber, telemetry: Telemetry
) -> None:
    telemetry.on.remove()
    telemetry.on.remove()
    await timber.sessions.create_session("u", "research")
    assert not telemetry.finished()
    assert not telemetry.metric("db.client.connection.max")
    assert not timber.db.monitor.observers


async def test_a_timber_that_does_not_run_cannot_be_instrumented(database_url: str) -> None:
    with pytest.raises(UsageError):
        instrument(Timber(database_url))
