"""Spans and measurements are made after their caller has gone on, and say the same as if they had been made at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import Span, SpanProcessor

from tests.telemetry.test_opentelemetry import Telemetry, telemetry
from timber import Timber
from timber.database.monitoring import Ran
from timber.database.statements import Statement
from timber.integrations.opentelemetry import afterwards as module
from timber.integrations.opentelemetry.afterwards import Afterwards

__all__ = ["telemetry"]

NAP = Statement("SELECT pg_sleep(0.03)", label="nap")
_named: ContextVar[str] = ContextVar("named", default="nobody")


async def until(happens: Callable[[], object]) -> None:
    """Wait for what the event loop does by itself."""
    async with asyncio.timeout(10):
        while not happens():
            await asyncio.sleep(0.001)


async def test_what_is_put_off_happens_in_order_and_in_its_own_context() -> None:
    afterwards, made = Afterwards(), list[tuple[int, str]]()

    async def one(number: int) -> None:
        _named.set(f"task {number}")
        afterwards.put_off(lambda: made.append((number, _named.get())))
        _named.set("something else")

    for number in range(5):
        await asyncio.create_task(one(number))
        await one(number)
    await until(lambda: len(made) == 10)
    assert made == [(number, f"task {number}") for number in range(5) for _ in "ab"]


async def test_what_is_put_off_is_gathered() -> None:
    afterwards, made = Afterwards(), list[int]()
    for number in range(3):
        afterwards.put_off(made.append, number)
    await asyncio.sleep(0)
    assert not made
    await until(lambda: made == [0, 1, 2])


async def test_one_that_fails_is_logged_and_the_others_are_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    afterwards, made = Afterwards(), list[int]()
    afterwards.put_off(lambda: 1 / 0)
    afterwards.put_off(made.append, 1)
    with caplog.at_level(logging.ERROR, "timber.integrations"):
        afterwards.flush()
    assert made == [1]
    assert "could not be reported" in caplog.text


def test_what_a_loop_left_behind_is_made_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    afterwards, made = Afterwards(), list[int]()

    async def put_off(*numbers: int) -> None:
        for number in numbers:
            afterwards.put_off(made.append, number)
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "_SECONDS", 600.0)
    asyncio.run(put_off(0, 1))
    assert not made
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    asyncio.run(put_off(2))
    assert made == [0, 1, 2]


async def test_a_span_made_later_has_the_times_of_its_statement(
    timber: Timber, telemetry: Telemetry
) -> None:
    began = time.time_ns()
    await timber.db.fetch(NAP)
    ended = time.time_ns()
    time.sleep(0.05)  # the event loop is held up, and cannot report
    [span] = telemetry.named("SELECT")
    assert began <= span.start_time < span.end_time <= ended
    assert span.end_time - span.start_time >= 30_000_000


async def test_a_span_made_later_belongs_to_whom_its_statement_did(
    timber: Timber, telemetry: Telemetry
) -> None:
    tracer = telemetry.tracers.get_tracer("handler")

    async def request(number: int) -> int:
        with tracer.start_as_current_span(f"request {number}") as span:
            await timber.sessions.get_user_sessions(f"u{number}")
        with tracer.start_as_current_span("after it"):
            return span.get_span_context().span_id

    requests = await asyncio.gather(*(request(number) for number in range(8)))
    assert {span.parent.span_id for span in telemetry.named("SELECT sessions")} == set(requests)


async def test_a_processor_sees_the_baggage_of_the_caller(
    timber: Timber, telemetry: Telemetry
) -> None:
    seen: list[object] = []

    class Baggage(SpanProcessor):
        def on_start(self, span: Span, parent_context: Any = None) -> None:
            seen.append(baggage.get_baggage("tenant", parent_context))

    telemetry.tracers.add_span_processor(Baggage())
    token = context.attach(baggage.set_baggage("tenant", "t1"))
    await timber.sessions.get_user_sessions("u")
    context.detach(token)
    telemetry.on.flush()
    assert seen == ["t1"]


async def test_it_reports_by_itself(timber: Timber, telemetry: Telemetry) -> None:
    await asyncio.gather(*(timber.sessions.get_user_sessions("u") for _ in range(20)))
    await until(lambda: len(telemetry.spans.get_finished_spans()) == 20)


@pytest.mark.parametrize("end", ["close", "remove"])
async def test_nothing_is_lost_at_the_end(
    database_url: str, clean_tables: None, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", 600.0)  # it never gets round to it
    timber = Timber(database_url)
    await timber.start()
    telemetry = Telemetry(timber, transactions=True)
    async with timber.unit_of_work():
        await timber.sessions.get_user_sessions("u")
    assert not telemetry.spans.get_finished_spans()
    if end == "remove":
        telemetry.on.remove()
    else:
        await timber.close()
    read, unit = telemetry.spans.get_finished_spans()[-2:]
    assert (read.name, unit.name.split()[0]) == ("SELECT sessions", "TRANSACTION")
    assert read.parent is not None
    assert read.parent == unit.context
    await timber.close()


async def test_no_more_waits_than_ends_in_a_moment(timber: Timber, telemetry: Telemetry) -> None:
    waiting: list[int] = []

    def count(_ran: Ran) -> None:
        waiting.append(len(telemetry.on._afterwards._waiting))

    timber.db.monitor.observers.append(count)
    for _ in range(5):
        await asyncio.gather(*(timber.sessions.get_user_sessions("u") for _ in range(100)))
        await asyncio.sleep(0.01)
    timber.db.monitor.observers.remove(count)
    assert len(waiting) == 500
    assert max(waiting) <= 200  # a statement and a wait for a connection of each
