"""Where other layers hook into the database's work, without the database knowing them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession

    from timber.database.levels import Change
    from timber.errors import Outcome


class EndingUnit(Protocol):
    """What a hook may know of the unit of work that ends, and do with it before it does."""

    def say_last(self, sql: str) -> bool: ...

    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def writes(self) -> int: ...
    @property
    def is_part(self) -> bool: ...
    @property
    def changes(self) -> tuple[Change, ...]: ...


@dataclass(slots=True)
class Moments:
    """Where other layers hook in; each list is called in order.

    ``begun`` sees each outermost unit of work when it is entered, before it has a connection. ``session_made`` and ``before_execute`` see what the ORM does, ``before_commit`` and the others each outermost unit of
    work. A callback of ``before_commit`` that raises rolls back; the later ones run when the outcome is settled: what
    they give is awaited, if it is anything, in the unit's own task, and has to bear being cut off. ``closed`` is told when
    the database has been closed.
    """

    begun: list[Callable[[EndingUnit], object]] = field(default_factory=list)
    session_made: list[Callable[[AsyncSession], object]] = field(default_factory=list)
    before_execute: list[Callable[[Connection, Any], object]] = field(default_factory=list)
    before_commit: list[Callable[[EndingUnit], Any]] = field(default_factory=list)
    after_commit: list[Callable[[EndingUnit], Any]] = field(default_factory=list)
    after_rollback: list[Callable[[EndingUnit], Any]] = field(default_factory=list)
    closed: list[Callable[[], object]] = field(default_factory=list)
