"""Problem documents (RFC 9457): what a web client is told of an error, whichever framework answers."""

from __future__ import annotations

import http
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from timber.database.outcome import outcome_of
from timber.errors import (
    CommitOutcomeUnknownError,
    ConflictError,
    FieldProblem,
    Outcome,
    PoolTimeoutError,
    QueryTimeoutError,
    SerializationError,
    ServiceError,
    StaleDataError,
    UnavailableError,
    ValidationError,
)

logger: logging.Logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_TYPE_PREFIX: Final = "urn:timber:problem:"
_RETRY_AFTER_SECONDS: Final = 1

_SAID_TO_CLIENTS: Final[dict[type[ServiceError], str]] = {
    UnavailableError: "The service cannot reach its database at the moment. Try again later.",
    PoolTimeoutError: "The service is busy. Try again later.",
    SerializationError: "Concurrent changes came first, and nothing was changed. Try again.",
    QueryTimeoutError: "It took longer than it may, and was given up.",
    CommitOutcomeUnknownError: (
        "The connection was lost while the change was being committed. It may have been: look before repeating it."
    ),
    ServiceError: "The service failed. What happened is in its log.",
}
"""What is said of errors whose own message names servers, statements or code."""


class UnauthenticatedError(ServiceError):
    """This needs somebody to act for: say who you are."""

    status = 401


class PreconditionFailedError(StaleDataError):
    """The row has another version than If-Match says. Read it again and repeat the change on what is there now."""

    status = 412


class ProblemField(BaseModel):
    """One thing wrong with the input: a dotted field name and what is wrong with it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    field: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="allow")

    type: str = Field(description="Which kind of problem it is; does not change.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The status of the answer.")
    detail: str | None = Field(default=None, description="What happened, and what to do.")
    instance: str | None = Field(default=None, description="The path that was asked for.")
    errors: list[ProblemField] | None = Field(
        default=None, description="Each thing that is wrong with the input."
    )
    constraint: str | None = Field(
        default=None, description="The constraint that refused the change."
    )
    outcome: Outcome | None = Field(
        default=None, description="What became of the change that was being made."
    )

    def body(self) -> bytes:
        """The document as it is sent."""
        return self.model_dump_json(exclude_none=True).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it beside its media type."""
        if self.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        return {}


def problem_of(error: Exception, instance: str | None = None) -> Problem:
    """The document for an error; what is not one of Timber's is an error of the program.

    Messages of errors from 500 on are not shown: they speak to who runs the service.
    """
    if not isinstance(error, ServiceError):
        # Nobody expected it, so there is no kind to name.
        return problem_of_status(500, _SAID_TO_CLIENTS[ServiceError], instance)
    status = error.status
    name = type(error).__name__.removesuffix("Error")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    return Problem(
        type=_TYPE_PREFIX + "-".join(word.lower() for word in words),
        title=" ".join(words).capitalize(),
        status=status,
        detail=error.message if status < 500 else _for_clients(type(error)),
        instance=instance,
        errors=_fields(error.errors) if isinstance(error, ValidationError) else None,
        constraint=error.constraint if isinstance(error, ConflictError) else None,
        outcome=outcome_of(error),
    )


def problem_of_status(
    status: int,
    detail: str | None = None,
    instance: str | None = None,
    *,
    errors: Iterable[FieldProblem] = (),
    more: Mapping[str, Any] | None = None,
) -> Problem:
    """The document for a bare status, such as a framework's own 404."""
    try:
        title = http.HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return Problem(
        type="about:blank",
        title=title,
        status=status,
        detail=detail if detail != title else None,
        instance=instance,
        errors=_fields(errors) or None,
        **(more or {}),
    )


def report(error: Exception, problem: Problem) -> None:
    """Log what a client is not told."""
    if problem.status < 500:
        return
    if problem.status == 500:
        logger.error("%s answered with 500.", problem.instance, exc_info=error)
    else:  # an outage has many, all alike
        logger.warning(
            "%s answered with %d: %s: %s",
            problem.instance,
            problem.status,
            type(error).__name__,
            error,
        )


def _for_clients(kind: type[ServiceError]) -> str:
    return next(_SAID_TO_CLIENTS[base] for base in kind.__mro__ if base in _SAID_TO_CLIENTS)


def _fields(problems: Iterable[FieldProblem]) -> list[ProblemField]:
    return [ProblemField(field=field, detail=problem) for field, problem in problems]
