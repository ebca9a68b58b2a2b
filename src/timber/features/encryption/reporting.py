"""Which keys the values in the tables are under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from timber.database.statements import compile_statement
from timber.features.encryption.envelopes import ID_AT, PERSON, RING, VERSION

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.encryption.person_records import PersonKeyStore
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry

PERSONS: Final = "(of persons)"
"""What stands for the data keys of all persons in a report."""
UNKNOWN: Final = "(unreadable)"
"""What stands for the key of something that is no encrypted value."""
DESTROYED: Final = "(destroyed)"
"""What stands for the master key of a destroyed data key."""

SCAN_SECONDS: Final = 3600.0
"""How long a statement that looks at a whole table may take."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How many values of one column are under one key.

    Attributes:
        model: the model; None for the data keys of persons, which are under master keys in turn.
        column: the column.
        key_id: the id of the key, or :data:`PERSONS`, :data:`UNKNOWN` or :data:`DESTROYED`.
        count: the number of values.
    """

    model: str | None
    column: str | None
    key_id: str
    count: int


def encrypted_models(registry: ModelRegistry) -> list[ModelConfig]:
    """The models with encrypted columns."""
    configs = map(registry.model_config, registry.list_models())
    return [config for config in configs if config.features.encryption is not None]


async def key_usage(
    db: AsyncDatabaseManager, registry: ModelRegistry, persons: PersonKeyStore | None = None
) -> list[KeyUse]:
    """How many values are under each key, of each encrypted column, soft-deleted rows too; and how many keys of persons.

    Each table is looked through as a whole.
    """
    found = []
    for config in encrypted_models(registry):
        table = registry.table(config.name)
        for name in config.features.encryption.columns if config.features.encryption else ():
            async with db.unit_of_work(read_only=True, statement_timeout=SCAN_SECONDS):
                statement = compile_statement(
                    _counting(table.c[name]), db.dialect, label=f"count keys {config.name}"
                )
                rows = await db.fetch(statement, statement.bind({}))
            counts = sorted((_key_id(row["kind"], row["key"]), row["n"]) for row in rows)
            found += [KeyUse(config.name, name, key_id, n) for key_id, n in counts]
    if persons is not None:
        counted: dict[str, int] = {}
        async for _, record in persons.records():
            key_id = record.master if record.wrapped is not None else DESTROYED
            counted[key_id] = counted.get(key_id, 0) + 1
        found += [KeyUse(None, None, key_id, n) for key_id, n in sorted(counted.items())]
    return found


def _counting(column: sa.Column[Any]) -> sa.Executable:
    """Values by the kind and the id of the key in their heads; those of persons together."""
    byte = sa.func.get_byte
    ours = sa.and_(sa.func.octet_length(column) > ID_AT, byte(column, 0) == VERSION)
    kind = sa.case((ours, byte(column, 1)), else_=-1)
    key = sa.case((kind == RING, sa.func.substring(column, ID_AT + 1, byte(column, 3))))
    inner = (
        sa.select(kind.label("kind"), key.label("key")).where(column.is_not(None)).subquery("found")
    )
    number = sa.func.count().label("n")
    return sa.select(inner.c.kind, inner.c.key, number).group_by(inner.c.kind, inner.c.key)


def _key_id(kind: int, key: bytes | None) -> str:
    if kind == PERSON:
        return PERSONS
    if kind != RING or key is None:
        return UNKNOWN
    return key.decode("ascii", "replace")
