"""The keys of the audit: what its digests and seals cannot be made or guessed without."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST: Final = 32
"""Characters of a key: as text from ``secrets.token_urlsafe(32)`` and its like has more than enough."""

_PURPOSE: Final = b"timber audit"


class AuditKey:
    """One key, and what is derived from it. Digests are keyed BLAKE2b (RFC 7693), a quarter of the time of an HMAC.

    Attributes:
        id: names the key in rows and seals, and tells nothing about it.
        values: the key of digests of values.
        rows: the key of the digest of a row.
        seals: the key of seals.
    """

    __slots__ = ("id", "rows", "seals", "values")

    def __init__(self, secret: str) -> None:
        root = hashlib.blake2b(secret.encode(), person=_PURPOSE).digest()
        self.id: str = _derived(root, b"id").hex()[:8]
        self.values: bytes = _derived(root, b"values")
        self.rows: bytes = _derived(root, b"rows")
        self.seals: bytes = _derived(root, b"seals")

    def __repr__(self) -> str:
        return f"<AuditKey {self.id}>"


def _derived(root: bytes, use: bytes) -> bytes:
    return hashlib.blake2b(use, key=root, digest_size=32, person=_PURPOSE).digest()


class AuditKeys:
    """The key that is used, and older ones, with which older rows and seals are checked.

    Args:
        secrets: texts of at least 32 characters, the one that is used first.

    Raises:
        ConfigurationError: there is none, or one is too short.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        keys = []
        for secret in secrets:
            if len(secret) < SHORTEST:
                raise ConfigurationError(
                    f"A key in audit_key is shorter than {SHORTEST} characters. Make one with "
                    'python -c "import secrets; print(secrets.token_urlsafe(32))"'
                )
            keys.append(AuditKey(secret))
        if not keys:
            raise ConfigurationError(
                "The audit needs a key: set audit_key (TIMBER_AUDIT_KEY) to a text of at least "
                f"{SHORTEST} random characters, and keep it apart from the database."
            )
        self.current: AuditKey = keys[0]
        self._by_id = {key.id: key for key in keys}

    @classmethod
    def of_setting(cls, setting: str) -> AuditKeys:
        """The keys of the setting ``audit_key``: separated by commas, the one that is used first."""
        return cls(part.strip() for part in setting.split(",") if part.strip())

    def find(self, id: str) -> AuditKey | None:
        """The key of this id, if it is among them."""
        return self._by_id.get(id)
