"""The protocol under every order of its steps around a Redis that stands still: its breaker opens, what was sent to it is found
late, and what could not be told is told by the background.
"""

from __future__ import annotations

import pytest

from tests.cache.model import scenarios
from tests.cache.model.holding import Record, hold
from tests.cache.model.scenarios import scenario

LONG = [pytest.mark.slow, pytest.mark.timeout(900)]


def preemptions(short: int, long: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "preemptions", [short, pytest.param(long, marks=LONG)], ids=["short", "long"]
    )


@preemptions(0, 2)
@pytest.mark.parametrize("warm", [(), ("l2",)], ids=["cold", "l2"])
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_a_freeze_at_any_point_leaves_nothing_stale(
    reader: int, is_list: bool, warm: tuple[str, ...], preemptions: int, record_property: Record
) -> None:
    """What was sent before the thaw is found after it, before or after what comes on new connections."""
    make = scenario(
        readers=(reader,),
        is_list=is_list,
        warm=warm,
        has_breaker=True,
        extra=[scenarios.freeze, scenarios.keeping(0)],
    )
    hold(make, record_property, preemptions=preemptions)


@preemptions(0, 1)
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
def test_a_late_fill_of_another_process_leaves_nothing_stale(
    is_list: bool, preemptions: int, record_property: Record
) -> None:
    make = scenario(
        readers=(1, 0),
        is_list=is_list,
        warm=(),
        has_breaker=True,
        extra=[scenarios.freeze, scenarios.keeping(0)],
    )
    hold(make, record_property, preemptions=preemptions)


@preemptions(0, 1)
@pytest.mark.parametrize("is_list", [False, True], ids=["row", "list"])
def test_a_flush_around_a_freeze_leaves_nothing_stale(
    is_list: bool, preemptions: int, record_property: Record
) -> None:
    """The flush comes in the middle of a lease, before, while or after nothing is answered."""
    make = scenario(
        readers=(0,),
        is_list=is_list,
        warm=(),
        has_breaker=True,
        extra=[scenarios.freeze, scenarios.flush, scenarios.keeping(0)],
    )
    hold(make, record_property, preemptions=preemptions)


@preemptions(0, 1)
@pytest.mark.parametrize("reader", [0, 1], ids=["own", "other"])
def test_a_freeze_that_loses_every_subscription_leaves_nothing_stale(
    reader: int, preemptions: int, record_property: Record
) -> None:
    make = scenario(
        readers=(reader,),
        warm=("l2",),
        has_breaker=True,
        extra=[scenarios.long_freeze, scenarios.keeping(0)],
    )
    hold(make, record_property, preemptions=preemptions)


@preemptions(0, 1)
def test_what_a_frozen_redis_was_not_told_is_replayed_by_another_process(
    preemptions: int, record_property: Record
) -> None:
    """The writer dies while its clear waits; the other one has opened its breaker, and replays what is owed."""
    make = scenario(
        readers=(1,),
        warm=("l2",),
        has_breaker=True,
        extra=[scenarios.freeze, scenarios.crash, scenarios.keeping(1)],
    )
    hold(make, record_property, preemptions=preemptions)


@preemptions(0, 1)
@pytest.mark.parametrize("ending", ["commit", "unknown"])
@pytest.mark.parametrize("way", ["lone", "session", "bulk"])
def test_every_way_of_writing_bears_a_freeze(
    way: str, ending: str, preemptions: int, record_property: Record
) -> None:
    make = scenario(
        readers=(0,),
        writers=((0, ending, way),),
        warm=("l2",),
        has_breaker=True,
        budget=1 if ending == "unknown" else 0,
        extra=[scenarios.freeze, scenarios.keeping(0)],
    )
    hold(make, record_property, preemptions=preemptions)


@preemptions(0, 1)
def test_a_breaker_that_closes_before_what_is_pending_was_told_leaves_nothing_stale(
    preemptions: int, record_property: Record
) -> None:
    make = scenario(
        readers=(0, 0) if preemptions else (0,),
        warm=("l2",),
        has_breaker=True,
        extra=[scenarios.freeze, scenarios.probing(0), scenarios.keeping(0)],
    )
    hold(make, record_property, preemptions=preemptions)
