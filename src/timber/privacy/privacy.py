"""Everything that can be done with a person's data, from what the models declare of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from timber.features.audit import AuditProvider
from timber.features.encryption.provider import EncryptionProvider
from timber.privacy.copies import CachedCopies
from timber.privacy.erasing import Erasing, ErasureReport, Told
from timber.privacy.exporting import Exporting, Manifest, write_export
from timber.privacy.journal import Journal
from timber.privacy.means import Means, Repositories
from timber.privacy.people import Person, UserId
from timber.privacy.planning import PersonalModels
from timber.privacy.purging import PurgeReport, PurgeTold, Purging
from timber.privacy.summarising import UserDataSummary, summarise
from timber.privacy.verifying import DeletionReport, Verifying
from timber.repository import Repository
from timber.repository.ordering import check_limit

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit import AuditLog
    from timber.features.providers import Features
    from timber.models.registry import ModelRegistry
    from timber.privacy.places import PersonKeys, Place

_MOST: Final = 10_000


class Privacy:
    """The data of persons: summed up, exported, erased, looked for, and purged when its time is over.

    Args:
        db: the database manager.
        registry: the models, which say under ``personal_data`` whose their rows are and what becomes of them.
        repositories: gives the repository of a model by its name; some are made where none are given.
        features: what is provided for the models' features; the keys of persons and the audit are among it.
        cache: where copies of rows are.
        keys: the data keys of persons, instead of those of the features.
        places: where else something of a person is kept.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        registry: ModelRegistry,
        repositories: Repositories | None = None,
        *,
        features: Features | None = None,
        cache: CoherentCache | None = None,
        keys: PersonKeys | None = None,
        places: Sequence[Place] = (),
    ) -> None:
        self._registry = registry
        self._features = features
        self._cache = cache
        self._made: dict[str, Repository[Any]] = {}
        models = PersonalModels(registry)
        copies = () if cache is None else (CachedCopies(cache, models),)
        self._means = means = Means(
            db,
            models,
            repositories or self._repository,
            keys if keys is not None else _keys_of(features),
            _audit_of(db, registry, features),
            (*copies, *places),
        )
        self._journal = Journal(db)
        self._exporting = Exporting(means)
        self._erasing = Erasing(means, self._journal)
        self._verifying = Verifying(means)
        self._purging = Purging(means)

    def _repository(self, model: str) -> Repository[Any]:
        made = self._made.get(model)
        if made is None:
            rows, dto = self._registry.get_model(model), self._registry.read_dto(model)
            made = self._made[model] = Repository(
                self._means.db, rows, dto, features=self._features, cache=self._cache
            )
        return made

    async def get_user_data_summary(self, user_id: UserId) -> UserDataSummary:
        """How many rows of each model are about a person, from when to when, and what an erasure does with them.

        Raises:
            ValidationError: the id is none.
        """
        return await summarise(self._means, Person(user_id))

    async def export_user_data(self, user_id: UserId, *, batch: int = 500) -> AsyncGenerator[bytes]:
        """Everything that is about a person as lines of JSON, soft-deleted rows included: a header, the rows by model and
        key, and at the end a manifest with the number and the digest of the rows of each model.

        Args:
            batch: how many rows are read, and held, at a time; 1 to 10,000.

        Raises:
            ValidationError: the id is none.
        """
        check_limit(batch, "batch", _MOST)
        async with aclosing(self._exporting.lines(Person(user_id), batch=batch)) as lines:
            async for line in lines:
                yield line

    async def write_user_data(
        self, user_id: UserId, path: Path | str, *, batch: int = 500
    ) -> Manifest:
        """Write :meth:`export_user_data` to a file that only its owner can read. It is there once it is complete.

        Raises:
            UsageError: the file cannot be written.
        """
        async with aclosing(self.export_user_data(user_id, batch=batch)) as lines:
            return await write_export(lines, Path(path))

    async def delete_user_data(
        self, user_id: UserId, *, batch: int = 1000, progress: Told | None = None
    ) -> ErasureReport:
        """Erase a person: delete the rows that are about them, or anonymise them, or destroy their key, as each model says.

        It goes in batches that are committed one by one, and how far it has come is in the database: called again after
        an interruption, by any process, it goes on from there.

        Args:
            batch: how many rows are dealt with in one transaction; 1 to 10,000.
            progress: is told after each batch how far it has come.

        Raises:
            ConfigurationError: a model does not say what is to happen, or its rows cannot be anonymised. Nothing was done.
            ConflictError: rows of somebody else would be lost with rows of this person. Nothing was done.
        """
        check_limit(batch, "batch", _MOST)
        return await self._erasing.erase(Person(user_id), batch=batch, progress=progress)

    async def unfinished_erasures(self) -> list[str]:
        """The ids of persons whose erasure was begun and has not come to its end, the oldest first."""
        return await self._journal.unfinished()

    async def verify_deletion(self, user_id: UserId) -> DeletionReport:
        """Look for a person everywhere. The answer is true only if every place could be looked at and nothing was found.

        Raises:
            ValidationError: the id is none.
        """
        return await self._verifying.verify(Person(user_id))

    async def purge(
        self,
        *,
        batch: int = 1000,
        retention: Mapping[str, timedelta] | None = None,
        progress: PurgeTold | None = None,
    ) -> PurgeReport:
        """Delete for good what has outlived its time: rows that were soft-deleted longer ago than their model's
        ``retention_days``, and rows whose ``expires`` has come. Several processes may do so at once.

        Args:
            batch: how many rows are deleted in one transaction, and at most as many that depend on them; 1 to 10,000.
            retention: how long soft-deleted rows of a model are kept, instead of what the model says.
        """
        check_limit(batch, "batch", _MOST)
        return await self._purging.purge(batch=batch, retention=retention or {}, progress=progress)


def _keys_of(features: Features | None) -> PersonKeys | None:
    """The data keys of persons that a Timber has."""
    provider = features.provider(EncryptionProvider.name) if features is not None else None
    if isinstance(provider, EncryptionProvider) and provider.has_persons:
        return provider.persons
    return None


def _audit_of(
    db: AsyncDatabaseManager, registry: ModelRegistry, features: Features | None
) -> AuditLog | None:
    """The audit that a Timber has."""
    provider = features.provider(AuditProvider.name) if features is not None else None
    return provider.log(db, registry) if isinstance(provider, AuditProvider) else None
