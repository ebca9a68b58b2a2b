"""What a transaction is made of: how it begins, and its levels, each of which can be undone by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from timber.context import remaining
from timber.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import SessionTransaction

    from timber.settings import TimberSettings

MOST_NOTED: Final = 10_000
"""Above so many keys and tags of one model a transaction has changed all of the model: their number is no user's to bound."""

Isolation = Literal["read committed", "repeatable read", "serializable"]


@dataclass(frozen=True, slots=True)
class TransactionOptions:
    """How a transaction begins; None leaves it to the connection's settings. Times in seconds."""

    isolation: Isolation | None = None
    read_only: bool = False
    deferrable: bool = False
    statement_timeout: float | None = None
    lock_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.isolation is not None and self.isolation not in get_args(Isolation):
            raise UsageError(f"isolation is one of {', '.join(get_args(Isolation))}.")
        for seconds in (self.statement_timeout, self.lock_timeout):
            if seconds is not None and not seconds <= 2_147_483:
                raise UsageError("A timeout of PostgreSQL is 2147483 seconds (24 days) at most.")

    def begin(self, statement_timeout: float, local: Mapping[str, float]) -> str:
        """BEGIN and the settings as one message, in which the server is told of a deadline too.

        Args:
            statement_timeout: what the connection is set to, or would be.
            local: what a connection cannot be set to and each transaction sets for itself, in seconds.
        """
        words = ["BEGIN"]
        if self.isolation is not None:
            words.append(f"ISOLATION LEVEL {self.isolation.upper()}")
        if self.read_only:
            words.append("READ ONLY")
        if self.deferrable:
            words.append("DEFERRABLE")
        parts = [" ".join(words)]
        longest = statement_timeout if self.statement_timeout is None else self.statement_timeout
        rest = remaining(longest)
        timeouts = {
            **local,
            "statement_timeout": max(rest, 0.001) if rest < longest else self.statement_timeout,
            "lock_timeout": self.lock_timeout,
        }
        for name, seconds in timeouts.items():
            value = local.get(name) if seconds is None else seconds
            if value is not None:
                parts.append(f"SET LOCAL {name} = {round(value * 1000)}")
        return "; ".join(parts)


PLAIN: Final = TransactionOptions()
"""Everything left to the connection's settings."""


def local_settings(settings: TimberSettings) -> dict[str, float]:
    """The settings of a connection that each of its transactions can have instead, in seconds."""
    wanted = {
        "statement_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_session_timeout,
    }
    return {name: seconds for name, seconds in wanted.items() if seconds is not None}


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed.

    Attributes:
        is_said: a user says so, and the tags may be anybody's. What a repository or the ORM has written is the model's own,
            so that all of the model may stand for it.
    """

    model: str
    ids: tuple[object, ...] = ()
    tags: tuple[str, ...] = ()
    is_said: bool = False


@dataclass(slots=True)
class Level:
    """The transaction itself, or a savepoint in it: what belongs to it, and whether it can still be kept."""

    name: str | None = None
    sent: bool = False
    nested: SessionTransaction | None = None
    had_session: bool = False
    doom: BaseException | None = None
    on_commit: list[Any] = field(default_factory=list)
    on_rollback: list[Any] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    _noted: dict[str, int] = field(default_factory=dict)

    def note(self, change: Change) -> None:
        """Take note of a change; of very many in one model only that it has changed."""
        size = len(change.ids) + len(change.tags)
        noted = self._noted.get(change.model, 0)
        if change.is_said:
            self.changes.append(change)
        elif noted <= MOST_NOTED:
            self._noted[change.model] = noted + size
            if noted + size > MOST_NOTED:
                model = change.model
                self.changes = [c for c in self.changes if c.is_said or c.model != model]
                change = Change(model)
            self.changes.append(change)

    def take(self, inner: Level) -> None:
        """What a savepoint in it has left, at its release."""
        self.on_commit += inner.on_commit
        self.on_rollback += inner.on_rollback
        for change in inner.changes:
            self.note(change)
