"""A function that is a transaction: repeated as a whole when it is called by itself, a part of one that is there."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from timber.database.unit_of_work import UnitOfWork
from timber.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from timber.database.levels import Isolation

P = ParamSpec("P")
R = TypeVar("R")


class Runs(Protocol):
    """What makes transactions: a manager."""

    def current(self) -> UnitOfWork | None: ...

    def join_or_begin(self) -> AbstractAsyncContextManager[UnitOfWork]: ...

    async def run(
        self,
        body: Callable[[UnitOfWork], Awaitable[R]],
        *,
        isolation: Isolation | None = None,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        retry_locks: bool = False,
    ) -> R: ...


class Decorator(Protocol):
    """Takes a function of a unit of work and more arguments, and gives one of these arguments only."""

    def __call__(
        self, function: Callable[Concatenate[UnitOfWork, P], Awaitable[R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...


def make_transactional(
    find: Callable[[], Runs],
    *,
    isolation: Isolation | None,
    statement_timeout: float | None,
    lock_timeout: float | None,
    retry_locks: bool,
) -> Decorator:
    """The decorator behind ``transactional()``.

    Args:
        find: gives the manager at each call; there may be none yet when the function is decorated.
    """

    def decorate(
        function: Callable[Concatenate[UnitOfWork, P], Awaitable[R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        @wraps(function)
        async def call(*args: P.args, **options: P.kwargs) -> R:
            db = find()
            unit = db.current()
            if unit is None:
                return await db.run(
                    lambda unit: function(unit, *args, **options),
                    isolation=isolation,
                    statement_timeout=statement_timeout,
                    lock_timeout=lock_timeout,
                    retry_locks=retry_locks,
                )
            if isolation is not None and unit.transaction.isolation != isolation:
                raise UsageError(
                    f"{function.__name__}() asks for isolation {isolation!r} and is called inside a unit of work that was not "
                    "begun with it: begin that one so."
                )
            async with db.join_or_begin() as joined:
                return await function(joined, *args, **options)

        return call

    return decorate
