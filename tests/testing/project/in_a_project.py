"""Tests of a project that uses the plugin; test_plugin.py runs them in a pytest of their own."""

from __future__ import annotations

import asyncio
import sys

import pytest

pytestmark = pytest.mark.asyncio


async def test_a_run_that_has_used_no_fixture_has_imported_nothing_heavy():
    heavy = {"sqlalchemy", "asyncpg", "pydantic", "redis", "yaml", "timber.app"}
    assert not heavy & set(sys.modules)


@pytest.mark.parametrize("again", [1, 2])
async def test_each_test_begins_with_empty_tables_and_commits_are_believed(timber, again):
    invoices = timber.service("Invoice")
    assert await invoices.count() == 0
    told = []
    async with timber.unit_of_work() as uow:
        await invoices.create({"user_id": "u", "number": "R-1", "amount": 1})
        uow.on_commit(lambda: told.append("committed"))
    assert (uow.outcome, told) == ("committed", ["committed"])
    assert await invoices.count() == 1


async def test_fixtures_in_other_tasks_write_into_the_same_test(timber, invoice):
    found = await asyncio.create_task(timber.service("Invoice").get(invoice.id))
    assert found == invoice


async def test_a_unit_of_work_of_a_fixture_can_be_adopted(timber, open_unit):
    open_unit.adopt()
    await timber.service("Invoice").create({"user_id": "u", "number": "R", "amount": 1})
    assert open_unit.writes == 1


async def test_the_factory_makes_what_a_test_does_not_care_about(
    timber, timber_factory, assert_queries
):
    with assert_queries(1):
        invoice = await timber_factory.create("Invoice", amount=7)
    assert (invoice.number, invoice.amount, invoice.user_id) == ("number-1", 7, "user-1")
    line = await timber_factory.create("Line")
    assert (await timber.service("Invoice").get(line.invoice_id)).number == "number-2"
    assert len(await timber_factory.create_many("Line", 3, invoice_id=invoice.id)) == 3


async def test_the_factory_makes_the_same_in_every_test(timber_factory):
    assert (await timber_factory.create("Invoice")).number == "number-1"


async def test_a_wrong_number_of_statements_fails_and_lists_them(timber_factory, assert_queries):
    with pytest.raises(AssertionError, match="2 statements were sent, 1 expected: insert Invoice"):
        with assert_queries(1):
            await timber_factory.create_many("Invoice", 2)


async def test_the_clock_stands_still_until_it_is_moved(timber, timber_factory, timber_clock):
    first = await timber_factory.create("Invoice")
    timber_clock.advance(days=1)
    second = await timber_factory.create("Invoice")
    assert (second.created_at - first.created_at).total_seconds() == 86_400


@pytest.mark.parametrize("again", [1, 2])
async def test_what_needs_real_commits_has_them_and_empty_tables_afterwards(
    timber_committing, again
):
    notifications = timber_committing.notifications
    assert await notifications.repository.count() == 0
    async with notifications.subscribe("u") as heard:
        await notifications.create_notification("u", "ready", title="a", content="b")
        assert (await anext(aiter(heard))).title == "a"


async def test_options_of_ones_own_are_taken(timber):
    assert (await timber.sessions.create_session("u", "walk")).session_type == "walk"


async def test_each_worker_has_a_database_of_its_own(timber_db, request):
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    assert timber_db.url.partition("?")[0].endswith(f"_{worker}")
