"""Tables of the library's own that features need, on the metadata of the models that declare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from timber.models.audit_tables import add_audit_tables
from timber.models.embedding_tables import add_embedding_tables
from timber.models.erasure_tables import add_erasure_tables
from timber.models.idempotency_tables import add_idempotency_table
from timber.models.owed_table import add_owed_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    import sqlalchemy as sa

    from timber.models.config import ModelConfig

_BUILDERS: Final[tuple[Callable[[sa.MetaData, Collection[ModelConfig]], None], ...]] = (
    add_audit_tables,
    add_embedding_tables,
    add_erasure_tables,
    add_idempotency_table,
    add_owed_table,
)
"""Each adds its tables if one of the models needs them."""


def add_library_tables(metadata: sa.MetaData, configs: Iterable[ModelConfig]) -> None:
    """Add the tables that the features of these models need; their names begin with ``timber_``."""
    models = tuple(configs)
    for build in _BUILDERS:
        build(metadata, models)
