"""``@cached``: the answers of a service's own method, kept under tags."""

from __future__ import annotations

import functools
import inspect
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    ParamSpec,
    Protocol,
    TypeVar,
    get_type_hints,
)
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from timber.cache.codec import JsonCodec
from timber.cache.keys import question_name
from timber.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from timber.cache.coherence.cache import CoherentCache
    from timber.cache.coherence.levels import Kind


class HasCache(Protocol):
    """What a cached method belongs to: a service."""

    @property
    def cache(self) -> CoherentCache | None: ...


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=HasCache)

_PLAIN: Final = (
    *(str, bytes, int, float, bool, type(None), Decimal, UUID, Enum),
    *(date, datetime, time, timedelta, BaseModel),
)


def cached(
    *, ttl: float = 3600.0, tags: Sequence[str] = ()
) -> Callable[
    [Callable[Concatenate[S, P], Awaitable[T]]], Callable[Concatenate[S, P], Awaitable[T]]
]:
    """Keep what an async method of a service gives, for each set of arguments.

    Inside a unit of work, with ``fresh=True`` and without a cache the method runs. Its return annotation says how its
    answer is written and read back; nobody gets an object that another caller has.

    Args:
        ttl: seconds.
        tags: what the answer hangs on, with arguments in braces: ``user_sessions:{user_id}``. A change of a row that has
            one of them clears it.

    Raises:
        UsageError: an argument is not a plain value or a DTO, so that two calls could not be told apart.
    """

    def decorate(
        method: Callable[Concatenate[S, P], Awaitable[T]],
    ) -> Callable[Concatenate[S, P], Awaitable[T]]:
        answers = _Answers(method, ttl, tuple(tags))

        @functools.wraps(method)
        async def call(service: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            cache = service.cache
            is_fresh = bool(kwargs.get("fresh"))
            if not answers.takes_fresh:
                kwargs.pop("fresh", None)
            if cache is None or is_fresh or cache.in_transaction():
                return await method(service, *args, **kwargs)
            answer: T = await answers.read(
                cache, service, args, kwargs, lambda: method(service, *args, **kwargs)
            )
            return answer

        return call

    return decorate


class _Answers:
    """The answers of one method."""

    def __init__(self, method: Callable[..., Any], ttl: float, tags: tuple[str, ...]) -> None:
        self._method = method
        self._ttl = ttl
        self._tags = tags
        self._signature = inspect.signature(method)
        self.takes_fresh = "fresh" in self._signature.parameters
        self._name = f"{method.__module__}.{method.__qualname__}"
        self._adapter: TypeAdapter[Any] | None = None
        self._kinds: list[tuple[CoherentCache, Kind]] = []
        unknown = [t for t in tags if not set(_fields(t)) <= self._signature.parameters.keys()]
        if unknown:
            raise ConfigurationError(f"{self._name}: the tag {unknown[0]!r} names no argument.")

    def _kind(self, cache: CoherentCache) -> Kind:
        for known, kind in self._kinds:
            if known is cache:
                return kind
        if self._adapter is None:
            # At the first call: the annotation may name what is defined below the method.
            self._adapter = TypeAdapter(get_type_hints(self._method)["return"])
        fingerprint = blake2b(repr(self._adapter.json_schema()).encode(), digest_size=6).hexdigest()
        kind = cache.kind(self._name, AnswerCodec(self._adapter, fingerprint), ttl=self._ttl)
        self._kinds.append((cache, kind))
        return kind

    async def read(
        self,
        cache: CoherentCache,
        service: object,
        args: tuple[object, ...],
        kwargs: dict[str, Any],
        load: Callable[[], Awaitable[Any]],
    ) -> Any:
        kind = self._kind(cache)
        bound = self._signature.bind(service, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        arguments.pop("fresh", None)
        for name, value in arguments.items():
            if not _is_plain(value):
                raise UsageError(
                    f"{self._name} is cached, and its argument {name!r} is a {type(value).__name__}: only plain values, "
                    "tuples, lists and DTOs tell one call from another."
                )
        name = question_name(self._name, kind.codec.fingerprint, arguments)
        tags = [tag.format_map(arguments) for tag in self._tags]
        # Where so much has changed that all of a model is cleared, its tags are not named one by one.
        tags += cache.models_behind(self._tags)
        return kind.codec.thaw(await cache.read(kind, name, load, tags=tags))


class AnswerCodec(JsonCodec):
    """Answers of an annotated type, as its JSON."""

    def __init__(self, adapter: TypeAdapter[Any], fingerprint: str) -> None:
        super().__init__(fingerprint)
        self._adapter = adapter

    def freeze(self, value: Any) -> bytes:
        """The answer as JSON."""
        return self._adapter.dump_json(value)

    def thaw(self, frozen: bytes) -> Any:
        """A fresh answer."""
        return self._adapter.validate_json(frozen)


def _fields(tag: str) -> list[str]:
    return [part.partition("}")[0] for part in tag.split("{")[1:]]


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple | frozenset):
        return all(_is_plain(item) for item in value)
    return isinstance(value, _PLAIN)
