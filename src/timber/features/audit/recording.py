"""The row of the audit that goes with each row that is written, in the same statement."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from timber.context import current_actor
from timber.errors import ValidationError
from timber.features.audit.digests import SIZE, Digester, row_digest
from timber.features.feature import Companion, Feature
from timber.models.audit_tables import ROWS
from timber.models.column_types import SEARCH_VECTOR
from timber.models.stored import blind_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from timber.features.audit.actors import Actors
    from timber.features.audit.keys import AuditKey
    from timber.features.feature import FeatureModel, Row, Write
    from timber.models.config import ModelConfig
    from timber.models.feature_configs import AuditConfig

NAME: Final = "audit"

_BREATH: Final = 0.01  # seconds of digesting after which others get their turn
_BOOKKEEPING: Final = frozenset({"updated_at", "updated_by", "version", "version_token"})
"""What every update changes says nothing about it."""

_COLUMNS: Final = "made_at, model, row_key, action, actor, fields, digests, salt, mac, key_id"


@dataclass(slots=True)
class _Group:
    """Rows of a write in which the same fields are written."""

    fields: list[str]
    rows: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    macs: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Record:
    action: str
    made_at: datetime
    groups: list[_Group]


class Audit(Feature):
    """The audit of one model's rows."""

    def __init__(
        self, model: FeatureModel, declared: AuditConfig, key: AuditKey, actors: Actors
    ) -> None:
        config = model.config
        self._db = model.db
        self._actors = actors
        self._audit_key = key
        self._model = config.name
        self._key = config.primary_key
        self._declared = declared
        audited = audited_columns(config, declared)
        self._ignored = frozenset(config.column_names).difference(audited)
        self._digester = Digester(config.name, [config.column(name) for name in audited], key)
        self._texts: dict[tuple[str, bool], str] = {}
        key_type = model.table.c[self._key].type.compile(dialect=model.db.dialect)
        values = f"'{self._model}', written.\"{self._key}\"::text"
        # One change for all rows that were written, and one for each of them.
        self._of_all = (
            f"INSERT INTO {ROWS} ({_COLUMNS}) SELECT {{{{0}}}}::timestamptz, {values}, {{{{1}}}}::text, {{who}}, "  # noqa: S608
            f"{{{{2}}}}::text[], {{{{3}}}}::bytea, {{{{4}}}}::bytea, {{{{5}}}}::bytea, '{key.id}' FROM written"
        )
        self._of_each = (
            f"INSERT INTO {ROWS} ({_COLUMNS}) SELECT {{{{0}}}}::timestamptz, {values}, {{{{1}}}}::text, {{who}}, "  # noqa: S608
            f"{{{{2}}}}::text[], of_row.digests, of_row.salt, of_row.mac, '{key.id}' FROM written JOIN "
            f"unnest({{{{3}}}}::bytea[], {{{{4}}}}::bytea[], {{{{5}}}}::bytea[], {{{{6}}}}::{key_type}[]) "
            f'AS of_row(digests, salt, mac, key) ON of_row.key = written."{self._key}"'
        )

    # Before: the values are still plain

    async def before_insert(self, write: Write) -> None:
        await self._prepare(write)

    async def before_update(self, write: Write) -> None:
        await self._prepare(write)

    async def before_delete(self, write: Write) -> None:
        await self._prepare(write)

    async def _prepare(self, write: Write) -> None:
        await self._actors.meet(self._db, current_actor())
        record = _Record(_action(write), self._db.clock(), [])
        groups: dict[tuple[str, ...], _Group] = {}
        breathed = time.monotonic()
        for index, row in enumerate(write.rows):
            fields = tuple(self._audited(row))
            if fields not in groups:
                groups[fields] = _Group(list(fields))
            self._add(record, groups[fields], write, index)
            if time.monotonic() - breathed > _BREATH:
                await asyncio.sleep(0)
                breathed = time.monotonic()
        record.groups = list(groups.values())
        write.notes[NAME] = record

    def _add(self, record: _Record, group: _Group, write: Write, index: int) -> None:
        salt = secrets.token_bytes(SIZE)
        try:
            digests = self._digester.digests(group.fields, write.rows[index], salt)
        except ValidationError as error:
            if write.single:
                raise
            raise ValidationError(
                errors=[(f"{index}.{problem.field}", problem.problem) for problem in error.errors]
            ) from None
        group.digests.append(digests)
        group.salts.append(salt)
        group.macs.append(self._mac(record, group.fields, digests, salt))
        group.rows.append(index)

    def _audited(self, row: Row) -> list[str]:
        return [name for name in row if name not in self._ignored]

    def _mac(self, record: _Record, fields: list[str], digests: bytes, salt: bytes) -> bytes:
        return row_digest(
            self._audit_key,
            model=self._model,
            action=record.action,
            made_at=record.made_at,
            fields=fields,
            digests=digests,
            salt=salt,
        )

    # Beside

    def companions(self, write: Write) -> Sequence[Companion]:
        record: _Record | None = write.notes.get(NAME)
        if record is None:
            record = self._without_values(write)
        elif not write.rows:
            record.groups = [self._bare(record, [])]
        found: list[Companion] = []
        for group in record.groups:
            if group.fields or write.verb != "update":
                found += self._companions(write, record, group)
        return found

    def _without_values(self, write: Write) -> _Record:
        """What is known of claims and links: which fields, and not what PostgreSQL puts there."""
        record = _Record(_action(write), self._db.clock(), [])
        names = self._audited(write.rows[0]) if write.rows else []
        columns = self._declared.columns
        fields = [name for name in names if columns is None or name in columns]
        record.groups = [self._bare(record, fields)]
        return record

    def _bare(self, record: _Record, fields: list[str]) -> _Group:
        salt = secrets.token_bytes(SIZE)
        mac = self._mac(record, fields, b"", salt)
        return _Group(fields, [0], [b""], [salt], [mac])

    def _companions(self, write: Write, record: _Record, group: _Group) -> Iterable[Companion]:
        several = len(write.rows) > 1
        if several and write.keys is None:
            group, several = self._bare(record, group.fields), False
        args: tuple[Any, ...] = (record.made_at, record.action, group.fields)
        if several:
            assert write.keys is not None
            keys = [write.keys[index] for index in group.rows]
            args += (group.digests, group.salts, group.macs, keys)
        else:
            args += (group.digests[0], group.salts[0], group.macs[0])
        who = self._actors.who(current_actor(), record.made_at, first=len(args))
        text = self._text(who.sql, several=several)
        return (*who.companions, Companion(text, (*args, *who.args), (self._key,)))

    def _text(self, who: str, *, several: bool) -> str:
        text = self._texts.get((who, several))
        if text is None:
            text = (self._of_each if several else self._of_all).format(who=who)
            self._texts[who, several] = text
        return text


def audited_columns(config: ModelConfig, declared: AuditConfig) -> list[str]:
    """The columns whose changes are recorded: those declared, or all that a write can set and that say something."""
    if declared.columns is not None:
        chosen = list(declared.columns)
    else:
        feed = config.features.feed
        encryption = config.features.encryption
        own = {*_BOOKKEEPING, config.primary_key}
        own |= {feed.column} if feed is not None else set()
        own |= {blind_index(name) for name in encryption.searchable} if encryption else set()
        chosen = [
            column.name
            for column in config.columns
            if column.generated is None
            and column.type.kind != SEARCH_VECTOR
            and column.name not in own
        ]
    return [name for name in chosen if name not in declared.exclude]


def _action(write: Write) -> str:
    """What is done, with the soft deletions and restorations that an update of ``deleted_at`` is."""
    if write.verb == "update" and write.rows and "deleted_at" in write.rows[0]:
        row = write.rows[0]
        if row["deleted_at"] is not None:
            return "soft_delete"
        if not row.keys() - {"deleted_at"} - _BOOKKEEPING:
            return "restore"
    return write.verb
