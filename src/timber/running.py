"""What a running Timber holds: how it is opened, in which order it is closed, and that a start which fails leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from timber.database.embedded import EmbeddedPostgres
from timber.database.idempotency import IdempotentCommands
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConfigurationError, UnavailableError, UsageError
from timber.features.background import Background
from timber.features.guard import FeatureGuard
from timber.features.mixins import OrmMixins
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy
from timber.services.base import Service
from timber.services.notifications import NotificationDTO, NotificationService
from timber.services.research import ResearchDTO, ResearchService
from timber.services.sessions import SessionDTO, SessionService
from timber.services.tracking import TrackerDTO, TrackingService
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache

EMBEDDED = "embedded"


class Running:
    """What a running Timber holds."""

    def __init__(
        self,
        db: AsyncDatabaseManager,
        registry: ModelRegistry,
        settings: TimberSettings,
        features: Features,
        *,
        embedded: EmbeddedPostgres | None,
        cache: CoherentCache | None,
    ) -> None:
        # The manager's moments hold them.
        FeatureGuard(db, registry)
        OrmMixins(db, registry)
        self.db = db
        self.cache = cache
        self.registry = registry
        self.features = features
        self.embedded = embedded
        self.closing: bool = False
        self.background: Background | None = None
        self.commands: IdempotentCommands = IdempotentCommands(db)
        made = db, registry, settings, features, cache
        self.sessions: SessionService[SessionDTO] = SessionService.of_settings(*made)
        self.research: ResearchService[ResearchDTO] = ResearchService.of_settings(*made)
        self.notifications: NotificationService[NotificationDTO] = NotificationService.of_settings(
            *made
        )
        self.tracking: TrackingService[TrackerDTO] = TrackingService.of_settings(*made)
        built_in: tuple[Service[Any], ...] = (
            self.sessions,
            self.research,
            self.notifications,
            self.tracking,
        )
        self.privacy: Privacy | None = None
        self.built_in: dict[type[Any], Service[Any]] = {
            registry.get_model(service.name): service for service in built_in
        }

    def start_background(self) -> None:
        self.background = Background(self.features.background())
        self.background.start()

    @classmethod
    async def open(
        cls,
        settings: TimberSettings,
        registry: ModelRegistry,
        features: Features,
        *,
        manager: type[AsyncDatabaseManager],
        clock: Callable[[], datetime] | None,
    ) -> Self:
        """Start and connect what the settings name.

        Raises:
            ConfigurationError: the URL is wrong, or the log-in is refused.
            UnavailableError: the server does not answer within ``connect_timeout``.
        """
        embedded = await _start_embedded(settings)
        cache: CoherentCache | None = None
        try:
            db = manager(
                embedded.url if embedded is not None else settings.database_url,
                settings=settings,
                clock=clock,
                metadata=registry.metadata,
            )
            try:
                await _connect(db, settings.connect_timeout)
                if embedded is not None:
                    await db.create_all_tables()
                cache = await _open_cache(settings, db, registry)
                opened = cls(db, registry, settings, features, embedded=embedded, cache=cache)
                await features.start(db, registry)
                if settings.background_work:
                    opened.start_background()
            except BaseException:
                await features.close()
                if cache is not None:
                    await cache.close()
                await db.close()
                raise
        except BaseException:
            if embedded is not None:
                await embedded.stop()
            raise
        return opened

    async def close(self, drain: float) -> None:
        """Close all but the embedded server, if there is one.

        Raises:
            UsageError: called inside a unit of work, which goes on.
        """
        self.closing = True
        if self.background is not None:
            await self.background.close()
        try:
            await self.commands.close()
            if self.cache is not None:
                await self.cache.settle()
            await self.db.close(drain)
        except UsageError:
            self.closing = False
            raise
        await self.features.close()
        if self.cache is not None:
            await self.cache.close()


async def _start_embedded(settings: TimberSettings) -> EmbeddedPostgres | None:
    if settings.database_url != EMBEDDED:
        return None
    if settings.production:
        raise ConfigurationError(
            "The embedded PostgreSQL is for development and TIMBER_ENV is production: "
            "set database_url to a server's."
        )
    return await EmbeddedPostgres.start(settings.embedded_directory / "postgres")


async def _open_cache(
    settings: TimberSettings, db: AsyncDatabaseManager, registry: ModelRegistry
) -> CoherentCache | None:
    if settings.cache_url is None or not settings.cache_enabled:
        return None
    # Whoever has no cache imports none.
    opening = import_module("timber.cache.opening")
    opened: CoherentCache | None = await opening.open_cache(settings, db, registry)
    return opened


async def _connect(db: AsyncDatabaseManager, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await db.ping()
    except TimeoutError as error:
        raise UnavailableError(f"Cannot reach {db.target}: no answer in {seconds:g} s.") from error
