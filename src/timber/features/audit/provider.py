"""The audit for all models of one Timber that declare it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from timber.features.audit.actors import Actors
from timber.features.audit.keys import AuditKeys
from timber.features.audit.log import AuditLog
from timber.features.audit.recording import NAME, Audit
from timber.features.audit.sealing import Sealer
from timber.features.audit.working import SealingWork
from timber.features.feature import Feature, FeatureProvider, declaration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.background import BackgroundWork
    from timber.features.feature import FeatureModel
    from timber.models.feature_configs import AuditConfig
    from timber.models.registry import ModelRegistry
    from timber.settings import TimberSettings


def provider_of_settings(settings: TimberSettings) -> AuditProvider | None:
    """The audit with the key of the settings; None if they name none.

    Raises:
        ConfigurationError: a key is too short.
    """
    if settings.audit_key is None:
        return None
    keys = AuditKeys.of_setting(settings.audit_key.get_secret_value())
    return AuditProvider(keys, seal_every=settings.audit_seal_every)


class AuditProvider(FeatureProvider):
    """Records every write to the models that declare ``features: {audit: true}``.

    Args:
        keys: the keys of digests and seals.
        seal_every: seconds from one sealing to the next in this process; None where another process does it.
    """

    name: ClassVar[str] = NAME
    after: ClassVar[frozenset[str]] = frozenset({"validation"})

    def __init__(self, keys: AuditKeys, *, seal_every: float | None = None) -> None:
        self._keys = keys
        self._seal_every = seal_every
        self._actors = Actors()
        self._sealing: asyncio.Task[None] | None = None
        self._work: tuple[BackgroundWork, ...] = ()

    def feature(self, model: FeatureModel) -> Feature:
        """The audit of one model."""
        declared: AuditConfig = declaration(model.config, self.name)
        return Audit(model, declared, self._keys.current, self._actors)

    def log(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> AuditLog:
        """What asks the audit of a database."""
        return AuditLog(db, registry, self._keys, actors=self._actors)

    async def start(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        """Begin to seal, where this process is to and a model is audited."""
        names = registry.list_models()
        if all(registry.model_config(name).features.audit is None for name in names):
            return
        sealer = Sealer(db, self._keys)
        self._work = (SealingWork(db, sealer),)
        if self._seal_every is not None:
            self._sealing = asyncio.create_task(sealer.run(self._seal_every), name="timber sealer")

    def background(self) -> Sequence[BackgroundWork]:
        """The sealing, for a worker."""
        return self._work

    async def close(self) -> None:
        """Stop sealing."""
        sealing, self._sealing = self._sealing, None
        if sealing is not None:
            sealing.cancel()
            with suppress(asyncio.CancelledError):
                await sealing
