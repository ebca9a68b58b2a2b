"""Half of a call's work is never committed: an error that leaves a service method after a write dooms the transaction."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from timber.database.manager import AsyncDatabaseManager

M = TypeVar("M", bound=Callable[..., Any])
_ONE_READ: Final = "__timber_one_read__"


class HasDatabase(Protocol):
    """An object whose methods work on one database."""

    db: AsyncDatabaseManager


def guard_methods(cls: type[Any], *, but: frozenset[str]) -> None:
    """Guard the public coroutine methods that ``cls`` itself defines.

    Generators and context managers are left alone: their body runs in pieces, between which other calls write.
    """
    for name, method in list(vars(cls).items()):
        if name.startswith("_") or name in but or not inspect.iscoroutinefunction(method):
            continue
        if _ONE_READ not in vars(method):
            setattr(cls, name, _guarded(method))


def one_read(method: M) -> M:
    """Mark a method that makes one read and nothing else, about which there is nothing to guard: it writes nothing, and the
    door counts its statement by itself. A read out of memory takes a few microseconds, of which the guard would be one.
    """
    vars(method)[_ONE_READ] = True
    return method


def _guarded(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def guarded(self: HasDatabase, /, *args: Any, **kwargs: Any) -> Any:
        unit = self.db.current()
        if unit is None:
            door = self.db.door
            work = door.begin()
            try:
                return await method(self, *args, **kwargs)
            finally:
                door.end(work)
        before = unit.writes
        try:
            return await method(self, *args, **kwargs)
        except BaseException as error:
            if unit.is_open and unit.writes != before:
                unit.doom(error)
            raise

    return guarded
