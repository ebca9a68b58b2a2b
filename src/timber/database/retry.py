"""Which failures pass by themselves, and repeating what they hit: always a whole transaction, never a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential, wait_random_exponential

from timber.context import remaining
from timber.errors import (
    CommitOutcomeUnknownError,
    PoolTimeoutError,
    SerializationError,
    ServiceError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from timber.settings import TimberSettings

Trouble = Literal["conflict", "outage"]

TRANSIENT: dict[str, Trouble] = {
    "40001": "conflict",  # serialization failure
    "40P01": "conflict",  # deadlock
    "0A000": "conflict",  # the cached statement is older than the table
    "08000": "outage",  # connection exception
    "08001": "outage",  # cannot connect
    "08003": "outage",  # connection does not exist
    "08004": "outage",  # connection rejected
    "08006": "outage",  # connection failure
    "08007": "outage",  # transaction resolution unknown
    "25006": "outage",  # read-only: a replica, or a primary that was demoted
    "53300": "outage",  # too many connections
    "57P01": "outage",  # administrator's shutdown
    "57P02": "outage",  # crash shutdown
    "57P03": "outage",  # cannot connect now
    "57P05": "outage",  # idle session timeout
}
"""SQLSTATE -> what kind of trouble it is. Anything else is not retried."""

LOCK_NOT_AVAILABLE = "55P03"
CACHED_STATEMENT = "0A000"


def trouble_of(error: BaseException | None, *, locks: bool = False) -> Trouble | None:
    """What kind of passing trouble an error tells of, None for one that will not pass.

    Args:
        locks: count a lock that was not to be had in time as a conflict.
    """
    if not isinstance(error, ServiceError) or isinstance(error, CommitOutcomeUnknownError):
        return None
    state = getattr(error, "sqlstate", None)
    if state == LOCK_NOT_AVAILABLE:
        return "conflict" if locks else None
    if state == CACHED_STATEMENT and not isinstance(error, SerializationError):
        return None  # PostgreSQL's word for what it cannot do at all
    if state is not None:
        return TRANSIENT.get(state)
    if isinstance(error, UnavailableError | PoolTimeoutError):
        return "outage"
    return None


def is_lost_connection(error: BaseException) -> bool:
    """Whether a connection broke under a statement, which a new one may not."""
    return isinstance(error, UnavailableError) and error.connection_lost


def is_repeatable(error: BaseException) -> bool:
    """Whether a lone statement that left nothing behind is worth repeating at once."""
    return trouble_of(error) == "conflict" or is_lost_connection(error)


def retrying(
    settings: TimberSettings, *, locks: bool = False, counts: Counter[str] | None = None
) -> AsyncRetrying:
    """How :meth:`AsyncDatabaseManager.run` repeats a transaction.

    Args:
        counts: where repetitions are counted, by what was in the way.
    """
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: trouble_of(error, locks=locks) is not None),
        stop=_Attempts(settings, locks=locks) | stop_before_delay(remaining(settings.retry_budget)),
        wait=_Waits(settings, locks=locks),
        before_sleep=_counting(counts),
        reraise=True,
    )


def lone_retrying(settings: TimberSettings, *, counts: Counter[str] | None = None) -> AsyncRetrying:
    """How a lone statement is repeated that is known not to have happened: one attempt less, the first has been made."""
    return AsyncRetrying(
        retry=retry_if_exception(
            lambda error: (
                is_repeatable(error)
                and isinstance(error, ServiceError)
                and error.outcome in (None, "rolled_back")
            )
        ),
        stop=_Attempts(settings, locks=False, made=1)
        | stop_before_delay(remaining(settings.retry_budget)),
        wait=wait_random_exponential(multiplier=settings.conflict_wait, max=1.0),
        before_sleep=_counting(counts),
        reraise=True,
    )


def _counting(counts: Counter[str] | None) -> Callable[[RetryCallState], None]:
    def count(state: RetryCallState) -> None:
        if counts is not None:
            counts[trouble_of(_error_of(state), locks=True) or "outage"] += 1

    return count


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


class _Attempts(stop_base):
    def __init__(self, settings: TimberSettings, *, locks: bool, made: int = 0) -> None:
        self._settings = settings
        self._locks = locks
        self._made = made

    def __call__(self, retry_state: RetryCallState) -> bool:
        conflict = trouble_of(_error_of(retry_state), locks=self._locks) == "conflict"
        limit = self._settings.conflict_attempts if conflict else self._settings.outage_attempts
        return retry_state.attempt_number + self._made >= limit


class _Waits(wait_base):
    def __init__(self, settings: TimberSettings, *, locks: bool) -> None:
        self._locks = locks
        self._conflict = wait_random_exponential(multiplier=settings.conflict_wait, max=1.0)
        self._outage: Any = wait_exponential(
            multiplier=settings.outage_wait, min=settings.outage_wait, max=settings.outage_wait_max
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        trouble = trouble_of(_error_of(retry_state), locks=self._locks)
        return float((self._conflict if trouble == "conflict" else self._outage)(retry_state))
