"""Who acts: where a web adapter finds the name that :func:`timber.acting_as` is given for a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from timber.context import current_actor
from timber.errors import ValidationError
from timber.integrations.problems import UnauthenticatedError

R = TypeVar("R")

_LONGEST = 255  # what a column with an actor holds


@dataclass(frozen=True, slots=True)
class Header:
    """The actor is what a header says. Only for a service behind a gateway that sets it itself: anybody can send one."""

    name: str


@dataclass(frozen=True, slots=True)
class State:
    """The actor is what a middleware has left with the request: in FastAPI as ``request.state.user_id``, in aiohttp as
    ``request[USER_ID]`` under a ``web.RequestKey``, or a string.
    """

    key: Hashable


ActorFinder = Callable[[R], str | None] | Callable[[R], Awaitable[str | None]]
"""The actor of a request, worked out by the application; None for nobody."""


def check_actor(actor: object, source: str) -> str | None:
    """The name of an actor as columns can hold it, None for nobody.

    Raises:
        ValidationError: naming the source.
    """
    if actor is None or actor == "":
        return None
    if not isinstance(actor, str):
        raise ValidationError.of(source, "is to give the actor's name as text")
    if len(actor) > _LONGEST:
        raise ValidationError.of(source, f"is longer than {_LONGEST} characters")
    if not actor.isprintable():
        raise ValidationError.of(source, "holds a character that cannot be printed")
    return actor


def require_actor() -> str:
    """Who does the current work.

    Raises:
        UnauthenticatedError: nobody is known.
    """
    actor = current_actor()
    if actor is None:
        raise UnauthenticatedError
    return actor
