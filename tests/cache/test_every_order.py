"""The protocol under every order of its steps, and the stale values that it would leave without any one of its rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cache.model import scenarios
from tests.cache.model.holding import Record, hold
from tests.cache.model.naive import commits_then_deletes, deletes_then_commits, naive_scenario
from tests.cache.model.removals import REMOVALS, Removal
from tests.cache.model.scenarios import scenario
from tests.cache.model.schedules import Search
from tests.cache.model.simulated import DEPOSED

WARM = [(), ("l2",), ("l1", "l2")]
PARTS = 16
"""A million orders in so many tests, each of which takes a minute of a core."""
FAULTS = ["fails", "loses its reply", "is late"]


@pytest.mark.parametrize("warm", WARM, ids=lambda warm: "+".join(warm) or "cold")
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_a_reader_and_a_writer_in_any_order_leave_nothing_stale(
    reader: int, is_list: bool, warm: tuple[str, ...], record_property: Record
) -> None:
    hold(scenario(readers=(reader,), is_list=is_list, warm=warm), record_property)


@pytest.mark.parametrize("ending", ["rollback", "savepoint", "unknown"])
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_what_was_rolled_back_or_is_unknown_leaves_nothing_stale(
    reader: int, ending: str, record_property: Record
) -> None:
    make = scenario(readers=(reader,), writers=((0, ending),), warm=(), budget=1)
    hold(make, record_property)


@pytest.mark.parametrize("way", ["lone", "session", "bulk"])
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_every_way_of_writing_leaves_nothing_stale(
    reader: int, is_list: bool, way: str, record_property: Record
) -> None:
    writers = ((0, "commit", way),)
    make = scenario(readers=(reader,), writers=writers, is_list=is_list, warm=("l2",))
    hold(make, record_property)


@pytest.mark.parametrize("way", ["lone", "session", "bulk"])
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_every_way_of_writing_whose_outcome_is_unknown_leaves_nothing_stale(
    reader: int, way: str, record_property: Record
) -> None:
    writers = ((0, "unknown", way),)
    make = scenario(readers=(reader,), writers=writers, warm=(), budget=1)
    hold(make, record_property)


@pytest.mark.parametrize("way", ["lone", "session", "bulk"])
def test_a_crash_in_every_way_of_writing_leaves_nothing_stale(
    way: str, record_property: Record
) -> None:
    writers = ((0, "commit", way),)
    hold(scenario(writers=writers, warm=("l2",), extra=[scenarios.crash]), record_property)


@pytest.mark.parametrize("number", [0, 1], ids=["writer", "reader"])
def test_a_subscription_that_breaks_alone_leaves_nothing_stale(
    number: int, record_property: Record
) -> None:
    make = scenario(readers=(1,), warm=("l2",), extra=[scenarios.deaf(number)])
    hold(make, record_property, preemptions=1)


@pytest.mark.parametrize("warm", [(), ("l2",)], ids=["cold", "l2"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_redis_failing_at_any_point_leaves_nothing_stale(
    reader: int, fault: str, warm: tuple[str, ...], record_property: Record
) -> None:
    make = scenario(readers=(reader,), warm=warm, operation_faults=(fault,), budget=1)
    hold(make, record_property)


@pytest.mark.parametrize("warm", [(), ("l2",)], ids=["cold", "l2"])
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_a_crash_at_any_point_leaves_nothing_stale(
    reader: int, warm: tuple[str, ...], record_property: Record
) -> None:
    make = scenario(readers=(reader,), warm=warm, extra=[scenarios.crash])
    hold(make, record_property)


def test_a_crash_beside_a_replay_at_any_point_leaves_nothing_stale(
    record_property: Record,
) -> None:
    make = scenario(readers=(1,), warm=("l2",), extra=[scenarios.crash, scenarios.replay])
    hold(make, record_property, limit=1500)


def test_a_flush_at_any_point_leaves_nothing_stale(record_property: Record) -> None:
    hold(scenario(readers=(1,), warm=(), extra=[scenarios.flush]), record_property)


def test_a_clear_that_only_a_deposed_primary_has_seen_leaves_nothing_stale(
    record_property: Record,
) -> None:
    make = scenario(readers=(1,), warm=(), operation_faults=(DEPOSED,), budget=1)
    hold(make, record_property)


@pytest.mark.parametrize("cut", [0, 1], ids=["writer", "reader"])
def test_a_process_cut_off_at_any_point_leaves_nothing_stale(
    cut: int, record_property: Record
) -> None:
    make = scenario(readers=(1,), warm=("l2",), extra=[scenarios.cut_off(cut)])
    hold(make, record_property, limit=1500)


def test_a_failover_at_any_point_leaves_nothing_stale(record_property: Record) -> None:
    make = scenario(readers=(0,), warm=("l2",), extra=[scenarios.failover])
    hold(make, record_property, limit=1500)


@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
def test_two_readers_and_a_writer_leave_nothing_stale(
    is_list: bool, record_property: Record
) -> None:
    make = scenario(readers=(0, 0), is_list=is_list, warm=())
    hold(make, record_property, preemptions=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
def test_two_readers_and_a_writer_with_any_preemptions_leave_nothing_stale(
    is_list: bool, record_property: Record
) -> None:
    hold(scenario(readers=(0, 0), is_list=is_list, warm=()), record_property)


@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
def test_two_readers_and_two_writers_leave_nothing_stale(
    is_list: bool, record_property: Record
) -> None:
    writers = ((0, "commit"), (1, "commit"))
    make = scenario(readers=(0, 1), writers=writers, is_list=is_list, warm=())
    hold(make, record_property, preemptions=1, limit=1500)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
def test_two_readers_and_two_writers_with_three_preemptions_leave_nothing_stale(
    is_list: bool, part: int, record_property: Record
) -> None:
    writers = ((0, "commit"), (1, "commit"))
    make = scenario(readers=(0, 1), writers=writers, is_list=is_list, warm=())
    hold(make, record_property, preemptions=3, part=(part, PARTS))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("reader", "extra"),
    [
        (0, scenarios.cut_off(0)),
        (1, scenarios.cut_off(1)),
        (0, scenarios.failover),
        (1, scenarios.failover),
        (0, scenarios.deaf(0)),
        (1, scenarios.deaf(1)),
    ],
    ids=["cut-writer", "cut-reader", "failover-own", "failover-other", "deaf-own", "deaf-other"],
)
def test_longer_faults_at_any_point_leave_nothing_stale(
    reader: int, extra: scenarios.Extra, record_property: Record
) -> None:
    hold(scenario(readers=(reader,), warm=(), extra=[extra]), record_property, preemptions=5)


@pytest.mark.parametrize(
    "removal",
    [
        pytest.param(each, id=each.rule, marks=[pytest.mark.slow] if each.preemptions else [])
        for each in REMOVALS
    ],
)
def test_without_one_rule_the_same_orders_show_a_stale_value(
    removal: Removal, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    with monkeypatch.context() as patch:
        removal.remove(patch)
        search = Search(removal.make, preemptions=removal.preemptions, limit=60_000)
        result = search.all(until_violation=True)
    assert result.violations, f"{removal.rule}: {result}"
    record_property("counts", f"stale in order {result.runs}: {result.violations[0][0]}")


@pytest.mark.parametrize("write", [deletes_then_commits, commits_then_deletes])
def test_a_naive_cache_shows_stale_values(
    write: Callable[..., object], record_property: Record
) -> None:
    result = Search(naive_scenario(write)).all()
    record_property("counts", f"{len(result.violations)} stale of {result}")
    assert result.violations
