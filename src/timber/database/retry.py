"""Which failures pass by themselves, and repeating what they hit: always a whole transaction, never a part of one."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

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

    from timber.settings import TimberSettings

logger: logging.Logger = logging.getLogger(__name__)

Trouble = Literal["conflict", "outage"]
_LONGER: Final = 1.25
"""By how much a wait after an outage may be longer, so that all who were cut off do not come back at once."""


class Passing(NamedTuple):
    """A SQLSTATE that passes by itself: what kind of trouble it is, and what has happened."""

    state: str
    trouble: Trouble
    meaning: str
    condition: Literal["if asked for", "if a table changed"] | None = None


PASSING: Final = (
    Passing("40001", "conflict", "serialization failure: a concurrent transaction was first"),
    Passing("40P01", "conflict", "deadlock: this transaction was chosen to give way"),
    Passing("55P03", "conflict", "a lock was not free within lock_timeout", "if asked for"),
    Passing("0A000", "conflict", "a prepared statement is out of date", "if a table changed"),
    Passing("08000", "outage", "connection exception"),
    Passing("08001", "outage", "the connection cannot be established"),
    Passing("08003", "outage", "the connection does not exist"),
    Passing("08004", "outage", "the server rejected the connection"),
    Passing("08006", "outage", "connection failure"),
    Passing("08007", "outage", "transaction resolution unknown"),
    Passing("25006", "outage", "read-only: a replica, or a primary that was demoted"),
    Passing("53300", "outage", "too many connections"),
    Passing("57P01", "outage", "ended by an administrator, or by a shutdown"),
    Passing("57P02", "outage", "ended by a crash of the server"),
    Passing("57P03", "outage", "the server is starting up or shutting down"),
    Passing("57P05", "outage", "ended after sitting idle"),
)
"""Everything else that PostgreSQL says is final. Beside it a connection that cannot be had from the server
(:class:`UnavailableError`) or from the pool (:class:`PoolTimeoutError`) is an outage."""

TRANSIENT: Final = {row.state: row for row in PASSING}


def trouble_of(error: BaseException | None, *, locks: bool = False) -> Trouble | None:
    """What kind of passing trouble an error tells of, None for one that will not pass, or must not be repeated.

    Args:
        locks: count a lock that was not to be had in time as a conflict.
    """
    if not isinstance(error, ServiceError) or error.outcome in {"unknown", "committed"}:
        return None
    state = getattr(error, "sqlstate", None)
    if state is None:
        return "outage" if isinstance(error, UnavailableError | PoolTimeoutError) else None
    row = TRANSIENT.get(state)
    if row is None or (row.condition == "if asked for" and not locks):
        return None
    if row.condition == "if a table changed" and not isinstance(error, SerializationError):
        return None  # it is also PostgreSQL's word for what it cannot do at all
    return row.trouble


def is_lost_connection(error: BaseException) -> bool:
    """Whether a connection broke under a statement, which a new one may not."""
    return isinstance(error, UnavailableError) and error.connection_lost


def is_repeatable(error: BaseException) -> bool:
    """Whether a lone statement that left nothing behind is worth repeating at once."""
    if isinstance(error, ServiceError) and error.outcome in {"unknown", "committed"}:
        return False
    return trouble_of(error) == "conflict" or is_lost_connection(error)


class RetryBudget:
    """How many repetitions after outages all work of a process may have, so that an outage is not multiplied by them.

    A bucket of tokens, as the retry quota of the AWS SDKs and Finagle's RetryBudget: each repetition takes one, and gets it
    back if it helps. The bucket fills up by itself, so that whoever has spent it can go on, at that rate.

    Args:
        rate: tokens a second; the bucket holds those of ten.
    """

    __slots__ = ("_at", "_capacity", "_rate", "_tokens", "refused")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = self._capacity = max(1.0, rate * 10)
        self._at = time.monotonic()
        self.refused: int = 0
        """How many repetitions there were no tokens for."""

    def withdraw(self) -> bool:
        """Take a token, if there is one."""
        now = time.monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True

    def give_back(self, tokens: int) -> None:
        """The repetitions that took them have helped."""
        self._tokens = min(self._capacity, self._tokens + tokens)


class Attempts:
    """Repeats one piece of work for as long as its trouble passes, and no longer than settings, deadline and budget allow.

    Args:
        counts: where repetitions are counted, by what was in the way.
        locks: also when a lock was not to be had in time.
        safe: also when what became of it is unknown, since it cannot happen twice.
    """

    def __init__(
        self,
        settings: TimberSettings,
        budget: RetryBudget,
        *,
        counts: Counter[str],
        locks: bool = False,
        safe: bool = False,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._counts = counts
        self._locks = locks
        self._safe = safe
        self._taken = 0

    async def run(self, work: Any, *args: Any) -> Any:
        """The result of the first attempt that succeeds.

        Raises:
            BaseException: what the last one raised.
        """
        limit = remaining(self._settings.retry_budget)
        return await self._finish(
            AsyncRetrying(
                retry=retry_if_exception(lambda error: self._trouble(error) is not None),
                stop=_Enough(self) | stop_before_delay(limit) | _Spent(self),
                wait=_Waits(self),
                before_sleep=self._count,
                reraise=True,
            ),
            work,
            args,
        )

    async def run_again(self, failure: ServiceError, work: Any, *args: Any) -> Any:
        """The same for a lone statement that has failed once, with ``failure``, and is known not to have happened."""
        if trouble_of(failure) != "conflict" and not self.take():
            raise failure
        self._counts[trouble_of(failure) or "outage"] += 1
        limit = remaining(self._settings.retry_budget)
        return await self._finish(
            AsyncRetrying(
                retry=retry_if_exception(is_repeatable),
                stop=_Enough(self, made=1) | stop_before_delay(limit) | _Spent(self),
                wait=wait_random_exponential(multiplier=self._settings.conflict_wait, max=1.0),
                before_sleep=self._count,
                reraise=True,
            ),
            work,
            args,
        )

    def _count(self, state: RetryCallState) -> None:
        self._counts[self._trouble(_error_of(state)) or "outage"] += 1

    def take(self) -> bool:
        """Whether the budget has a token for one more attempt after an outage, which is taken."""
        if not self._budget.withdraw():
            logger.warning("Nothing is repeated any more: the budget of repetitions is spent.")
            return False
        self._taken += 1
        return True

    async def _finish(self, retrying: AsyncRetrying, work: Any, args: tuple[Any, ...]) -> Any:
        result: Any = await retrying(work, *args)
        if self._taken:
            self._budget.give_back(self._taken)
        return result

    def _trouble(self, error: BaseException | None) -> Trouble | None:
        if self._safe and isinstance(error, CommitOutcomeUnknownError):
            return "outage"
        return trouble_of(error, locks=self._locks)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


class _Enough(stop_base):
    """As many attempts as the settings allow."""

    def __init__(self, attempts: Attempts, *, made: int = 0) -> None:
        self._attempts = attempts
        self._made = made

    def __call__(self, retry_state: RetryCallState) -> bool:
        settings = self._attempts._settings
        conflict = self._attempts._trouble(_error_of(retry_state)) == "conflict"
        limit = settings.conflict_attempts if conflict else settings.outage_attempts
        return retry_state.attempt_number + self._made >= limit


class _Spent(stop_base):
    """No token is left for another attempt after an outage; asked last, since it takes one."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    def __call__(self, retry_state: RetryCallState) -> bool:
        attempts = self._attempts
        if attempts._trouble(_error_of(retry_state)) == "conflict":
            return False
        return not attempts.take()


class _Waits(wait_base):
    def __init__(self, attempts: Attempts) -> None:
        settings = attempts._settings
        self._attempts = attempts
        self._conflict = wait_random_exponential(multiplier=settings.conflict_wait, max=1.0)
        self._outage: Any = wait_exponential(
            multiplier=settings.outage_wait, min=settings.outage_wait, max=settings.outage_wait_max
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        trouble = self._attempts._trouble(_error_of(retry_state))
        if trouble == "conflict":
            return float(self._conflict(retry_state))
        # Never less: those who wait for a server do it in order to outlast something.
        return float(self._outage(retry_state)) * random.uniform(1.0, _LONGER)  # noqa: S311  # no secret
