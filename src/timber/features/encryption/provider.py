"""The provider of encryption: one for a Timber, with its key ring and the keys of persons."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from timber.errors import ConfigurationError
from timber.features.encryption.key_file import FileKeyRing
from timber.features.encryption.keys import EnvironmentKeyRing
from timber.features.encryption.person_database import PersonKeyDatabase
from timber.features.encryption.person_folder import PersonKeyFolder
from timber.features.feature import FeatureProvider
from timber.models.stored import blind_index

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.encryption.keys import KeyRing
    from timber.features.encryption.master_keys import MasterKeys
    from timber.features.encryption.person_records import PersonKeyStore
    from timber.features.encryption.persons import PersonKeys
    from timber.features.feature import Feature, FeatureModel
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry
    from timber.settings import TimberSettings

_ENVIRONMENT = "env:"


class EncryptionProvider(FeatureProvider):
    """Encrypts the columns that models declare.

    Args:
        key_ring: where the master keys come from.
        person_keys: where the wrapped data keys of persons are kept; needed by models with ``per_person``.
        person_key_seconds: how long a person's data key may stay unwrapped in memory.

    Raises:
        ConfigurationError: the library ``cryptography`` is not installed.
    """

    name: ClassVar[str] = "encryption"
    last: ClassVar[bool] = True  # all others see values, and not ciphertext

    def __init__(
        self,
        key_ring: KeyRing,
        person_keys: PersonKeyStore | None = None,
        *,
        person_key_seconds: float = 60.0,
    ) -> None:
        _require_cryptography()
        from timber.features.encryption.master_keys import MasterKeys  # noqa: PLC0415  # cryptography may not be installed
        from timber.features.encryption.persons import PersonKeys  # noqa: PLC0415  # cryptography may not be installed

        self.key_ring = key_ring
        self.keys: MasterKeys = MasterKeys(key_ring)
        self._persons: PersonKeys | None = None
        if person_keys is not None:
            self._persons = PersonKeys(person_keys, self.keys, person_key_seconds)

    @property
    def persons(self) -> PersonKeys:
        """The data keys of persons: ``await provider.persons.destroy(person)``.

        Raises:
            ConfigurationError: it is not said where they are kept.
        """
        if self._persons is None:
            raise ConfigurationError(
                "It is not said where the data keys of persons are kept: set person_keys to a folder, or to the URL of "
                "another PostgreSQL than the one with their rows."
            )
        return self._persons

    @property
    def has_persons(self) -> bool:
        """Whether it is said where the data keys of persons are kept."""
        return self._persons is not None

    def feature(self, model: FeatureModel) -> Feature | None:
        """Encryption of the rows of one model.

        Raises:
            ConfigurationError: the declaration does not fit, or there are no keys.
        """
        from timber.features.encryption.encrypting import RingEncryption  # noqa: PLC0415  # cryptography may not be installed
        from timber.features.encryption.encrypting_persons import PersonEncryption  # noqa: PLC0415  # cryptography may not be installed

        declared = model.config.features.encryption
        if declared is None:
            return None
        _check_table(model)
        self.keys.known()  # a file or variable that cannot be read is found now, and not with the first row
        if declared.per_person:
            return PersonEncryption(model.config, self.keys, self.persons)
        return RingEncryption(model.config, self.keys)

    async def start(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        """Load the keys, and look where those of persons are kept."""
        if any(registry.model_config(n).features.encryption for n in registry.list_models()):
            await self.keys.get()
            if self._persons is not None:
                await self._persons.store.check(db)

    async def close(self) -> None:
        """Forget unwrapped keys and close what holds the wrapped ones."""
        if self._persons is not None:
            self._persons.forget()
            await self._persons.store.close()


def provider_of_settings(settings: TimberSettings) -> EncryptionProvider | None:
    """The provider that settings ask for; None if they name no keys.

    Raises:
        ConfigurationError: they do not fit, or the library ``cryptography`` is not installed.
    """
    if settings.encryption_keys is None:
        return None
    return EncryptionProvider(
        key_ring(settings.encryption_keys),
        None if settings.person_keys is None else person_key_store(settings.person_keys),
        person_key_seconds=settings.person_key_seconds,
    )


def key_ring(keys: str | Path) -> FileKeyRing | EnvironmentKeyRing:
    """The key ring that the setting ``encryption_keys`` names."""
    if isinstance(keys, str) and keys.startswith(_ENVIRONMENT):
        return EnvironmentKeyRing(keys.removeprefix(_ENVIRONMENT))
    return FileKeyRing(keys)


def person_key_store(keys: str | Path) -> PersonKeyStore:
    """The store that the setting ``person_keys`` names."""
    if isinstance(keys, str) and "://" in keys:
        return PersonKeyDatabase(keys)
    return PersonKeyFolder(keys)


def _check_table(model: FeatureModel) -> None:
    """A mapped class brings its own table, whose columns may be anything."""
    config: ModelConfig = model.config
    declared = config.features.encryption
    assert declared is not None
    for name in (*declared.columns, *map(blind_index, declared.searchable)):
        kind: Any = model.table.c[name].type
        if not isinstance(kind, sa.LargeBinary):
            raise ConfigurationError(
                f"{config.name}.{name} holds encrypted bytes, but the column in {config.table} is {kind}: make it a bytea "
                "(LargeBinary)."
            )


def _require_cryptography() -> None:
    if find_spec("cryptography") is None:
        raise ConfigurationError(
            "Encrypted columns need cryptography, which is not installed. It comes with "
            "pip install 'timber-async[crypto]'"
        )
