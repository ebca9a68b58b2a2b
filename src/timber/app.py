"""One Timber: wires database, models and services together, and owns their start and their end."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import pydantic
from typing_extensions import Unpack

from timber.database.levels import Isolation
from timber.database.manager import AsyncDatabaseManager
from timber.database.pgbouncer import warn_of_feeds
from timber.database.transactional import Decorator, make_transactional
from timber.database.unit_of_work import UnitOfWork
from timber.database.urls import parse_url
from timber.errors import ConfigurationError, UsageError
from timber.features.audit import AuditLog, AuditProvider
from timber.features.background import Background
from timber.features.built_in import features_of
from timber.features.feature import FeatureProvider
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy
from timber.repository import Repository
from timber.running import EMBEDDED, Running
from timber.services.base import Service
from timber.services.notifications import NotificationDTO, NotificationService
from timber.services.research import ResearchDTO, ResearchService
from timber.services.sessions import SessionDTO, SessionService
from timber.services.tracking import TrackerDTO, TrackingService
from timber.settings import SettingsKeywords, TimberSettings, make_settings

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache

T = TypeVar("T")
E = TypeVar("E", bound=pydantic.BaseModel)
S = TypeVar("S", bound=Service[Any])

_DRAIN = 10.0  # seconds that `async with` waits at its end for what is still going on


class Timber:
    """Database, models and services of one application: ``async with Timber(database_url=...) as timber:``.

    Args:
        database_url: ``postgresql://user:password@host:port/name``, or ``embedded`` for a PostgreSQL that is started from
            a wheel, with the tables made.
        settings: all settings at once, instead of keywords.
        registry: the models, instead of those in ``model_config_dirs``; with mapped classes of one's own, for instance.
        clock: gives the current time, aware; for tests.
        dtos: modules that ``timber schema --python`` wrote; one that no longer fits the models stops the start.
        providers: features of one's own, and built-in ones made in Python instead of by settings.
        manager: what makes the database manager; for tests.
        keywords: any field of :class:`TimberSettings`. What is not given comes from ``TIMBER_...`` in the environment.

    Raises:
        ConfigurationError: there is no database URL, or a setting is unknown or does not fit.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        settings: TimberSettings | None = None,
        registry: ModelRegistry | None = None,
        clock: Callable[[], datetime] | None = None,
        dtos: Iterable[ModuleType] = (),
        providers: Iterable[FeatureProvider] = (),
        manager: type[AsyncDatabaseManager] = AsyncDatabaseManager,
        **keywords: Unpack[SettingsKeywords],
    ) -> None:
        self._parts: Running | None = None
        self._state = (
            "has not been started: use `async with Timber(...)` or `await Timber(...).start()`"
        )
        self.settings: TimberSettings = make_settings(database_url, settings, keywords)
        if registry is not None and self.settings.model_config_dirs:
            raise ConfigurationError(
                "Give either registry or model_config_dirs, which the registry reads."
            )
        if self.settings.database_url != EMBEDDED:
            parse_url(self.settings.database_url)
        self._registry = registry
        self._clock = clock
        self._dtos = tuple(dtos)
        self._providers = tuple(providers)
        self._manager = manager
        self._services: dict[Any, Service[Any]] = {}
        self._repositories: dict[Any, Repository[Any]] = {}

    def __repr__(self) -> str:
        return f"<Timber on {self._parts.db.target}>" if self._parts else "<Timber, not running>"

    # Start and end

    async def start(self) -> Self:
        """Read the models, connect, and begin. A start that fails leaves nothing running.

        Raises:
            ConfigurationError: the models or the URL are wrong, or the log-in is refused.
            UnavailableError: the server does not answer within ``connect_timeout``.
        """
        if self._parts is not None:
            raise UsageError("This Timber is running already.")
        settings = self.settings
        features = features_of(settings, self._providers)
        registry = self._models(features)
        for module in self._dtos:
            registry.check_module(module)
        configs = [registry.model_config(model) for model in registry.list_models()]
        for config in configs:
            features.check(config)
        warn_of_feeds(settings, [each.name for each in configs if each.features.feed is not None])
        self._parts = await Running.open(
            settings, registry, features, manager=self._manager, clock=self._clock
        )
        return self

    async def close(self, drain: float = 0.0) -> None:
        """Refuse new work, wait up to ``drain`` seconds for units of work and calls that are going on, cut off what is
        left, and close every connection. A second call does nothing.

        Raises:
            UsageError: called inside a unit of work.
        """
        parts = self._parts
        if parts is None or parts.closing:
            return
        await parts.close(drain)
        self._state = "is closed"
        self._parts = None
        self._services.clear()
        self._repositories.clear()
        if parts.embedded is not None:
            await parts.embedded.stop()

    async def __aenter__(self) -> Self:
        if self._parts is None:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close(_DRAIN if error is None else 0.0)

    def __del__(self) -> None:
        if getattr(self, "_parts", None) is not None:
            warnings.warn(
                f"{self!r} was never closed: use `async with`, or `await timber.close()`.",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    # What it holds

    @property
    def _running(self) -> Running:
        if self._parts is None:
            raise UsageError(f"This Timber {self._state}.")
        return self._parts

    @property
    def db(self) -> AsyncDatabaseManager:
        """The database manager."""
        return self._running.db

    @property
    def cache(self) -> CoherentCache:
        """The cache.

        Raises:
            UsageError: there is none: no ``cache_url`` is set.
        """
        cache = self._running.cache
        if cache is None:
            raise UsageError(
                "This Timber has no cache: set cache_url to that of a Redis, or to `memory` or `embedded`."
            )
        return cache

    @property
    def registry(self) -> ModelRegistry:
        """The models; they are read when they are first asked for, at the start at the latest."""
        if self._parts is not None:
            return self._parts.registry
        return self._models(features_of(self.settings, self._providers))

    def _models(self, features: Features) -> ModelRegistry:
        if self._registry is None:
            self._registry = ModelRegistry(
                dirs=self.settings.model_config_dirs,
                features=features.providers,
                search_language=self.settings.search_language,
            )
        return self._registry

    @property
    def sessions(self) -> SessionService[SessionDTO]:
        """Sessions of users."""
        return self._running.sessions

    @property
    def research(self) -> ResearchService[ResearchDTO]:
        """Results of research."""
        return self._running.research

    @property
    def notifications(self) -> NotificationService[NotificationDTO]:
        """Messages to users."""
        return self._running.notifications

    @property
    def tracking(self) -> TrackingService[TrackerDTO]:
        """What is checked again and again for users."""
        return self._running.tracking

    @property
    def privacy(self) -> Privacy:
        """The data of persons: summed up, exported, erased, looked for, and purged when its time is over."""
        parts = self._running
        if parts.privacy is None:
            parts.privacy = Privacy(
                parts.db,
                parts.registry,
                lambda model: self.repository(model, parts.registry.read_dto(model)),
                features=parts.features,
                cache=parts.cache,
            )
        return parts.privacy

    @overload
    def service(self, name: str) -> Service[Any]: ...
    @overload
    def service(self, name: type[S]) -> S: ...
    def service(self, name: str | type[S]) -> Service[Any]:
        """The service of a model by its name, or one of a class of your own: ``timber.service(InvoiceService)``.

        Raises:
            ConfigurationError: there is no such model.
        """
        parts = self._running
        if name in self._services:
            return self._services[name]
        made: Service[Any]
        if not isinstance(name, str):
            made = name.of_settings(
                parts.db, parts.registry, self.settings, parts.features, parts.cache
            )
        elif (known := parts.built_in.get(parts.registry.get_model(name))) is not None:
            made = known
        else:
            made = Service(
                parts.db,
                registry=parts.registry,
                model=name,
                features=parts.features,
                cache=parts.cache,
            )
        self._services[name] = made
        return made

    @property
    def audit(self) -> AuditLog:
        """What was done to rows of the models that are audited, and by whom.

        Raises:
            ConfigurationError: there is no audit, since ``audit_key`` is not set.
        """
        parts = self._running
        provider = parts.features.provider("audit")
        if not isinstance(provider, AuditProvider):
            raise ConfigurationError("There is no audit: set audit_key (TIMBER_AUDIT_KEY).")
        return provider.log(parts.db, parts.registry)

    def repository(self, model: str | type[Any], dto: type[E]) -> Repository[E]:
        """A repository of a model, by name or as a mapped class of the registry, that gives its rows as ``dto``.

        Raises:
            ConfigurationError: there is no such model, or the DTO does not fit it.
        """
        parts = self._running
        repository = self._repositories.get((model, dto))
        if repository is None:
            rows = parts.registry.get_model(model) if isinstance(model, str) else model
            repository = Repository(parts.db, rows, dto, features=parts.features, cache=parts.cache)
            self._repositories[model, dto] = repository
        return repository

    # Work

    def background(
        self,
        *,
        only: Iterable[str] = (),
        idle_seconds: float = 1.0,
        report: Callable[[str, int], None] | None = None,
    ) -> Background:
        """The work beside requests, embedding for instance, to be run as ``timber worker`` does.

        Args:
            only: the names of what is to be done; all there is where nothing is said.
            idle_seconds: how long a kind of work pauses that had nothing to do.
            report: told of each piece that was done: the name of the work, and how much it was.

        Raises:
            ConfigurationError: there is no such work.
        """
        work = {each.name: each for each in self._running.features.background()}
        wanted = tuple(only) or tuple(work)
        if unknown := [name for name in wanted if name not in work]:
            raise ConfigurationError(
                f"There is no background work {unknown[0]!r}; there is {', '.join(work) or 'none: no model asks for any'}."
            )
        return Background([work[name] for name in wanted], idle_seconds=idle_seconds, report=report)

    def unit_of_work(
        self,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        independent: bool = False,
    ) -> UnitOfWork:
        """A transaction over any number of service calls, to be entered with ``async with``; nothing happens before.

        Args:
            isolation: ``read committed``, ``repeatable read`` or ``serializable``.
            statement_timeout: seconds for each statement.
            lock_timeout: seconds to wait for each lock.
            independent: a transaction of its own although another one is open around it.
        """
        return self.db.unit_of_work(
            isolation=isolation,
            read_only=read_only,
            deferrable=deferrable,
            statement_timeout=statement_timeout,
            lock_timeout=lock_timeout,
            independent=independent,
        )

    async def run(
        self,
        body: Callable[[UnitOfWork], Awaitable[T]],
        *,
        isolation: Isolation | None = None,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        retry_locks: bool = False,
    ) -> T:
        """Run ``body`` in a unit of work, and again as a whole when it loses against another one or the connection fails.

        What is neither committed nor known to be rolled back is never repeated.

        Args:
            retry_locks: also when a lock was not to be had within ``lock_timeout``.
        """
        return await self.db.run(
            body,
            isolation=isolation,
            statement_timeout=statement_timeout,
            lock_timeout=lock_timeout,
            retry_locks=retry_locks,
        )

    async def idempotent(
        self,
        key: str,
        body: Callable[[UnitOfWork], Awaitable[T]],
        *,
        request: object = None,
        result: type[T] | None = None,
        expires: timedelta | None = None,
        isolation: Isolation | None = None,
    ) -> T:
        """Run ``body`` once, however often it is sent under this key: :meth:`run` that remembers.

        Key, request and result are stored in the transaction of the body. A repeat returns the first result, two at once
        run once, and an attempt whose outcome is unknown may simply be repeated.

        Args:
            request: what is asked, as JSON or as a model; another one under the same key is refused.
            result: the type of what the body returns, to restore it as; not needed for plain JSON.
            expires: how long the key is remembered; ``idempotency_seconds`` if nothing is said.

        Raises:
            ConflictError: the key was used for another request.
            UsageError: what the body returned cannot be stored and restored.
        """
        answer: T = await self._running.commands.run(
            key, body, request=request, result=result, expires=expires, isolation=isolation
        )
        return answer

    async def purge_idempotency_keys(self, limit: int = 1000) -> int:
        """Remove keys of idempotent commands whose time is over, at most ``limit`` of them; how many there were.

        A process that runs such commands does so by itself about once a minute.
        """
        return await self._running.commands.purge(limit)

    def transactional(
        self,
        *,
        isolation: Isolation | None = None,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        retry_locks: bool = False,
    ) -> Decorator:
        """A decorator for a function that takes a unit of work first: :meth:`run` without the argument.

        Called inside a unit of work the function joins that one and is not repeated by itself; timeouts are those of the
        outer one, and another isolation than it was begun with is a ``UsageError``. It may decorate before the start.
        """
        return make_transactional(
            lambda: self.db,
            isolation=isolation,
            statement_timeout=statement_timeout,
            lock_timeout=lock_timeout,
            retry_locks=retry_locks,
        )


async def initialize_timber(
    database_url: str | None = None, **settings: Unpack[SettingsKeywords]
) -> Timber:
    """A running :class:`Timber`, to be closed with ``await timber.close()``."""
    return await Timber(database_url, **settings).start()
