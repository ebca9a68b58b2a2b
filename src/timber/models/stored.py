"""How columns are stored that are not stored as their values: ciphertext, and the keyed digests it is found by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from timber.models.column_types import ColumnType
from timber.models.columns import ColumnConfig
from timber.models.config import IndexColumn, IndexConfig

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from timber.models.config import ModelConfig
    from timber.models.feature_configs import EncryptionConfig

_BYTES: Final = ColumnType("Binary")


def is_encrypted(config: ModelConfig, column: str) -> bool:
    """Whether the column holds ciphertext."""
    encryption = config.features.encryption
    return encryption is not None and column in encryption.columns


def stored_type(config: ModelConfig, column: ColumnConfig) -> ColumnType:
    """The type that PostgreSQL knows the column by."""
    return _BYTES if is_encrypted(config, column.name) else column.type


def blind_index(column: str) -> str:
    """The name of the hidden column with keyed digests of an encrypted one."""
    return f"{column}_blind"


def blind_columns(
    encryption: EncryptionConfig, known: Container[str]
) -> Iterable[tuple[ColumnConfig, IndexConfig]]:
    """The hidden columns by which searchable encrypted columns are found, each with its index."""
    for name in encryption.searchable:
        if name in known:
            hidden = blind_index(name)
            column = ColumnConfig(name=hidden, type=_BYTES, hidden=True)
            yield column, IndexConfig(columns=(IndexColumn(name=hidden),))
