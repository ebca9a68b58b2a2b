"""One tree of errors: whatever fails inside Timber leaves it as one of these.

An error's docstring is its default message; a message says what happened and what to do. No message holds a parameter,
a row's value or a password.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pydantic

Outcome = Literal["committed", "rolled_back", "unknown"]
"""What became of a transaction."""


class ServiceError(Exception):
    """Something went wrong in Timber."""

    status: ClassVar[int] = 500
    """The HTTP status a web handler answers with."""

    outcome: Outcome | None = None
    """What became of the transaction this error ended, None if it ended none."""

    def __init__(self, message: str | None = None) -> None:
        self.message: str = message or inspect.cleandoc(type(self).__doc__ or type(self).__name__)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take keyword arguments that Exception's own pickling would lose.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[ServiceError], args: tuple[object, ...], state: dict[str, Any]
) -> ServiceError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class FieldProblem(NamedTuple):
    """One thing wrong with the input: a dotted field name and what is wrong with it."""

    field: str
    problem: str


class ValidationError(ServiceError):
    """The input is not valid."""

    status = 422

    def __init__(
        self, message: str | None = None, *, errors: Iterable[FieldProblem | tuple[str, str]] = ()
    ) -> None:
        self.errors: Sequence[FieldProblem] = tuple(FieldProblem(*e) for e in errors)
        if message is None and self.errors:
            message = "; ".join(f"{field}: {problem}" for field, problem in self.errors)
        super().__init__(message)

    @classmethod
    def of(cls, field: str, problem: str) -> ValidationError:
        """An error about one field."""
        return cls(errors=[FieldProblem(field, problem)])

    def at(self, field: str) -> ValidationError:
        """The same problems, all of them of ``field``."""
        return ValidationError(errors=[FieldProblem(field, e.problem) for e in self.errors])

    @classmethod
    def from_pydantic(cls, error: pydantic.ValidationError, *, prefix: str = "") -> ValidationError:
        """The same failures without the input values that pydantic's own message shows."""
        return cls(
            errors=[
                FieldProblem(prefix + (".".join(map(str, detail["loc"])) or "value"), detail["msg"])
                for detail in error.errors(
                    include_input=False, include_url=False, include_context=False
                )
            ]
        )


class NotFoundError(ServiceError):
    """No such row, or it belongs to somebody else."""

    status = 404

    def __init__(self, message: str | None = None, *, model: str | None = None) -> None:
        self.model = model
        if message is None and model is not None:
            message = f"No such {model}, or it belongs to somebody else."
        super().__init__(message)


class PermissionDeniedError(ServiceError):
    """This actor may not do that."""

    status = 403


class ConflictError(ServiceError):
    """The change conflicts with what is stored: a constraint of the table refused it."""

    status = 409

    def __init__(
        self,
        message: str | None = None,
        *,
        constraint: str | None = None,
        table: str | None = None,
        sqlstate: str | None = None,
    ) -> None:
        self.constraint = constraint
        self.table = table
        self.sqlstate = sqlstate
        super().__init__(message)


class StaleDataError(ConflictError):
    """The row has changed since it was read. Read it again and repeat the change on what is there now."""

    def __init__(
        self,
        message: str | None = None,
        *,
        model: str | None = None,
        expected: int | None = None,
        actual: int | None = None,
    ) -> None:
        self.model = model
        self.expected = expected
        self.actual = actual
        if message is None and model is not None:
            message = (
                f"This {model} has changed since it was read: it was expected at version {expected} and is now at "
                f"version {actual}. Read it again and repeat the change on what is there now."
            )
        super().__init__(message)


class DatabaseError(ServiceError):
    """PostgreSQL refused or failed the statement."""

    def __init__(self, message: str | None = None, *, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)


class UnavailableError(DatabaseError):
    """The database cannot be reached, or the connection to it was lost. Try again later."""

    status = 503
    connection_lost = False
    """Whether there was a connection, and it broke under a statement."""


class PoolTimeoutError(DatabaseError):
    """No database connection became free in time. Shorten the transactions that hold them or raise pool_size."""

    status = 503


class QueryTimeoutError(DatabaseError):
    """The statement took longer than it may. Make it faster or raise statement_timeout."""

    status = 504


class SerializationError(DatabaseError):
    """The transaction lost against a concurrent one and was rolled back. Repeat it as a whole: timber.run() does."""

    status = 503


class CommitOutcomeUnknownError(DatabaseError):
    """The connection was lost while the transaction was being committed and what became of it could not be found out.
    It may have been committed: look before repeating it.
    """

    outcome: Outcome | None = "unknown"

    @classmethod
    def unreplicated(cls) -> CommitOutcomeUnknownError:
        """For a commit that stands on one server only, where synchronous replication was asked for."""
        return cls(
            "The transaction is committed on this server, but PostgreSQL was told to wait no longer for the standby that it "
            "has to reach: a failover may lose it. Look before repeating it."
        )


class EncryptionError(ServiceError):
    """A value could not be encrypted or decrypted."""

    def __init__(self, message: str | None = None, *, key_id: str | None = None) -> None:
        self.key_id = key_id
        super().__init__(message)


class KeyNotFoundError(EncryptionError):
    """A key is not there. Put it back where the keys come from: nothing else can decrypt what it has encrypted."""


class KeyDestroyedError(EncryptionError):
    """The data key of the person whose row this is was destroyed: their encrypted values cannot be read any more, and no
    new ones can be written.
    """

    status = 410


class DecryptionError(EncryptionError):
    """An encrypted value is not what was written there: it was changed or moved, or its key is another one than the one of
    that name that it was encrypted with.
    """


class ConfigurationError(ServiceError):
    """The configuration is not valid."""

    def __init__(
        self,
        message: str | None = None,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        errors: Iterable[ConfigurationError] = (),
    ) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.errors: Sequence[ConfigurationError] = tuple(errors)
        where = ":".join(str(part) for part in (file, line, column) if part is not None)
        if message is not None and where:
            message = f"{where}: {message}"
        if message is None and self.errors:
            message = "\n".join(str(e) for e in self.errors)
        super().__init__(message)


class UsageError(ServiceError):
    """Timber was called in a way that cannot work."""


class UnitOfWorkSharedError(UsageError):
    """This unit of work belongs to another task. A transaction is one conversation on one connection: await its calls in
    the task that entered it. If a wrapper moved the code to a new task (asyncio.wait_for on Python 3.11, gather, a test
    fixture), use asyncio.timeout() instead of wait_for(), or hand it over with uow.adopt().
    """


class UnitOfWorkClosedError(UsageError):
    """This unit of work has ended, or was never entered. Each one is used once: make a new one with
    timber.unit_of_work().
    """


class UnitOfWorkDoomedError(UsageError):
    """An earlier call in this unit of work failed, so it can only be rolled back. Put a part that may fail inside
    `async with uow.savepoint():` and catch the error outside of it.
    """

    outcome: Outcome | None = "rolled_back"


class FeatureBypassedError(UsageError):
    """This way to the table goes past the features that its model declares. Use the repository."""
