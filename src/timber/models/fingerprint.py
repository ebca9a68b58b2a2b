"""A short digest of what a model's rows look like, for keys in a cache and for DTOs written out as Python."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from timber.models.config import ModelConfig

_FACTS: Final = (
    "name",
    "type",
    "nullable",
    "primary_key",
    "default",
    "server_default",
    "generated",
    "identity",
    "hidden",
    "read_only",
)

WRITTEN_FOR: Final = "__timber_model__"
"""The attribute of a generated DTO with the name and fingerprint of its model."""


def fingerprint(config: ModelConfig) -> str:
    """Twelve hexadecimal digits that change with the columns of a model, and not with its comments or indexes."""
    facts = [config.name, config.table, str(config.owner)]
    facts += [
        f"{name}={getattr(column, name)}"
        for column in sorted(config.columns, key=lambda column: column.name)
        for name in _FACTS
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def written_for(dto: type) -> tuple[str, str] | None:
    """The model and fingerprint a DTO was generated for, if it was."""
    value = getattr(dto, WRITTEN_FOR, None)
    return value if isinstance(value, tuple) else None
