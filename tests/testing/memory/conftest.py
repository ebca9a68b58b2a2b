"""The fixtures of the repository's tests, each with its rows in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.repository.conftest import Clock, Sent
from tests.repository.models import (
    REGISTRY,
    ArticleDTO,
    InvoiceDTO,
    JobDTO,
    SignedDTO,
    ThingDTO,
    TicketDTO,
)
from timber.testing import InMemoryDatabase, InMemoryRepository

ONLY_ON_POSTGRESQL = {
    # They count or look at statements, or ask PostgreSQL for a plan.
    "test_pages",
    "test_many_rows_come_in_the_order_of_their_keys",
    "test_a_narrower_dto_reads_only_its_columns",
    "test_returned_rows_without_lists_go_in_one_statement",
    "test_a_search_uses_its_index",
    "test_rows_are_fetched_a_batch_at_a_time",
    # Several connections, or one that is lost or cancelled.
    "test_many_who_lock_before_they_change_lose_nothing",
    "test_a_locked_row_waits_for_the_end_of_the_unit_of_work",
    "test_fifty_merges_at_once_lose_nothing",
    "test_many_at_once_make_one_row",
    "test_eight_workers_share_the_rows_and_none_is_given_twice",
    "test_a_claim_passes_over_rows_that_are_locked",
    "test_a_lost_connection_in_the_middle_is_unavailable",
    "test_a_cancelled_stream_gives_its_connection_back",
    "test_a_stream_that_is_cancelled_while_the_server_works",
    "test_rows_after_the_block_are_none",
    "test_within_a_unit_of_work_other_statements_go_on_in_between",
    "test_memory_does_not_grow_with_the_number_of_rows",
    # They make tables, or repositories of a database, of their own.
    "test_every_order_is_gone_through_without_gap_or_repeat",
    "test_rows_without_an_owner_are_nobodys",
    "test_a_narrower_dto_is_streamed",
    "test_deleted_rows_are_not_claimed_and_owners_keep_theirs",
    "test_nothing_is_left_of_groups_of_rows_either",
    "test_many_rows_without_their_key_in_the_dto",
    "test_a_dto_that_forbids_or_keeps_extra_fields_gets_none",
    # It writes past Timber.
    "test_a_row_that_something_else_wrote_is_named_by_its_key_and_column",
    # PostgreSQL computes a column, or makes a key.
    "test_what_postgresql_makes_is_left_to_it",
    "test_keys_made_by_postgresql_are_integers",
    "test_a_key_may_be_given_in_either_way",
    # A search for words as PostgreSQL's parser sees them; a SQLAlchemy expression.
    "test_odd_queries_are_queries",
    "test_walls_and_filters_hold_in_a_search",
}
"""What has no meaning for rows in memory, and why."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    left_out = [
        item
        for item in items
        if item.path.parent == here and getattr(item, "originalname", "") in ONLY_ON_POSTGRESQL
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sent() -> Sent:
    """No SQL is ever sent."""
    return Sent()


@pytest.fixture
async def db(clock: Clock) -> AsyncGenerator[InMemoryDatabase]:
    database = InMemoryDatabase(REGISTRY)
    yield database
    await database.dispose()


def in_memory(
    db: InMemoryDatabase, model: str, dto: Any, clock: Clock | None = None
) -> InMemoryRepository[Any]:
    return InMemoryRepository(REGISTRY.get_model(model), dto, db=db, clock=clock)


@pytest.fixture
def invoices(db: InMemoryDatabase, clock: Clock) -> InMemoryRepository[InvoiceDTO]:
    return in_memory(db, "Invoice", InvoiceDTO, clock)


@pytest.fixture
def things(db: InMemoryDatabase) -> InMemoryRepository[ThingDTO]:
    return in_memory(db, "Thing", ThingDTO)


@pytest.fixture
def tickets(db: InMemoryDatabase) -> InMemoryRepository[TicketDTO]:
    return in_memory(db, "Ticket", TicketDTO)


@pytest.fixture
def jobs(db: InMemoryDatabase, clock: Clock) -> InMemoryRepository[JobDTO]:
    return in_memory(db, "Job", JobDTO, clock)


@pytest.fixture
def articles(db: InMemoryDatabase, clock: Clock) -> InMemoryRepository[ArticleDTO]:
    return in_memory(db, "Article", ArticleDTO, clock)


@pytest.fixture
def signed(db: InMemoryDatabase) -> InMemoryRepository[SignedDTO]:
    return in_memory(db, "Signed", SignedDTO)
