"""Encrypted columns: AES-256-GCM with keys of a key ring, or with a data key for each person.

Nothing here imports the library ``cryptography`` before a provider is made.
"""

from timber.features.encryption.key_file import FileKeyRing
from timber.features.encryption.keys import CallableKeyRing, EnvironmentKeyRing, KeyRing, KeySet
from timber.features.encryption.person_database import PersonKeyDatabase
from timber.features.encryption.person_folder import PersonKeyFolder
from timber.features.encryption.person_records import PersonKeyStore, PersonRecord
from timber.features.encryption.provider import EncryptionProvider, provider_of_settings

__all__ = [
    "CallableKeyRing",
    "EncryptionProvider",
    "EnvironmentKeyRing",
    "FileKeyRing",
    "KeyRing",
    "KeySet",
    "PersonKeyDatabase",
    "PersonKeyFolder",
    "PersonKeyStore",
    "PersonRecord",
    "provider_of_settings",
]
