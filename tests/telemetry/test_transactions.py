"""Units of work as spans, where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry.test_opentelemetry import Telemetry
from timber import CommitOutcomeUnknownError, Timber
from timber.database.transaction import Transaction


@pytest.fixture
def telemetry(timber: Timber) -> Generator[Telemetry]:
    telemetry = Telemetry(timber, transactions=True)
    yield telemetry
    telemetry.on.remove()
    telemetry.meters.shutdown()
    telemetry.tracers.shutdown()


def transactions(telemetry: Telemetry) -> list[ReadableSpan]:
    return [span for span in telemetry.finished() if span.name.startswith("TRANSACTION")]


async def test_a_unit_of_work_is_a_span_around_its_statements(
    timber: Timber, telemetry: Telemetry
) -> None:
    tracer = telemetry.tracers.get_tracer("handler")
    with tracer.start_as_current_span("request") as request:
        async with timber.unit_of_work() as unit:
            session = await timber.sessions.create_session("u", "research")
            async with timber.unit_of_work():  # a savepoint: no transaction of its own
                await timber.research.repository.count()
            with tracer.start_as_current_span("own"):
                await timber.sessions.get_session(session.id)
    [span] = transactions(telemetry)
    assert span.name == f"TRANSACTION {timber.db.engine.url.database}"
    assert span.kind is SpanKind.INTERNAL
    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.attributes is not None
    assert span.attributes["timber.outcome"] == unit.outcome == "committed"
    assert span.attributes["timber.writes"] == 1
    assert span.attributes["db.system.name"] == "postgresql"
    assert span.attributes["db.operation.name"] == "TRANSACTION"
    [written] = telemetry.named("INSERT sessions")
    [read] = telemetry.named("SELECT sessions")
    [own] = telemetry.named("own")
    assert written.parent.span_id == span.context.span_id
    assert read.parent.span_id == own.context.span_id
    assert span.start_time <= written.start_time < written.end_time <= span.end_time  # type: ignore[operator]


async def test_a_rollback_says_so(timber: Timber, telemetry: Telemetry) -> None:
    with pytest.raises(RuntimeError):
        async with timber.unit_of_work():
            await timber.sessions.create_session("u", "research")
            raise RuntimeError
    [span] = transactions(telemetry)
    assert span.attributes is not None
    assert span.attributes["timber.outcome"] == "rolled_back"
    assert span.status.status_code is StatusCode.UNSET


async def test_an_unknown_outcome_is_an_error(
    timber: Timber, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Transaction.commit

    async def unknown(self: Transaction) -> None:
        await commit(self)
        self.outcome = "unknown"
        raise CommitOutcomeUnknownError

    monkeypatch.setattr(Transaction, "commit", unknown)
    with pytest.raises(CommitOutcomeUnknownError):
        async with timber.unit_of_work():
            await timber.sessions.create_session("u", "research")
    [span] = transactions(telemetry)
    assert span.attributes is not None
    assert span.attributes["timber.outcome"] == "unknown"
    assert span.status.status_code is StatusCode.ERROR


async def test_units_of_work_side_by_side_have_their_own_statements(
    timber: Timber, telemetry: Telemetry
) -> None:
    async def one(user: str) -> None:
        async with timber.unit_of_work():
            await timber.sessions.create_session(user, "research")
            await asyncio.sleep(0.01)
            await timber.sessions.create_session(user, "research")

    await asyncio.gather(*(one(f"u{n}") for n in range(5)))
    parents = [span.parent.span_id for span in telemetry.named("INSERT sessions")]
    ids = {span.context.span_id for span in transactions(telemetry)}
    assert len(ids) == 5
    assert sorted(parents) == sorted([*ids, *ids])


async def test_an_independent_one_is_within_the_other(timber: Timber, telemetry: Telemetry) -> None:
    async with timber.unit_of_work():
        await timber.sessions.create_session("u", "research")
        async with timber.unit_of_work(independent=True):
            await timber.research.repository.count()
    inner, outer = transactions(telemetry)
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    [read] = telemetry.named("SELECT research_data")
    assert read.parent.span_id == inner.context.span_id


async def test_what_is_alone_has_no_transaction(timber: Timber, telemetry: Telemetry) -> None:
    session = await timber.sessions.create_session("u", "research")
    await timber.sessions.get_session(session.id)
    assert telemetry.named("INSERT sessions")
    assert not transactions(telemetry)


async def test_nothing_is_a_transaction_unless_it_is_asked_for(timber: Timber) -> None:
    telemetry = Telemetry(timber)
    assert not timber.db.moments.begun
    async with timber.unit_of_work():
        await timber.sessions.create_session("u", "research")
    assert not transactions(telemetry)
    telemetry.on.remove()
    telemetry.meters.shutdown()
    telemetry.tracers.shutdown()


async def test_once_removed_no_moment_is_watched(timber: Timber, telemetry: Telemetry) -> None:
    moments = timber.db.moments
    before = len(moments.after_commit), len(moments.after_rollback)
    async with timber.unit_of_work():
        telemetry.on.remove()
        await timber.sessions.create_session("u", "research")
    assert not transactions(telemetry)
    assert not moments.begun
    assert (len(moments.after_commit), len(moments.after_rollback)) == (
        before[0] - 1,
        before[1] - 1,
    )
