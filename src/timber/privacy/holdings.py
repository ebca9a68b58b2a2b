"""The rows of one model that are about persons: which of them are about one, and what an erasure still has to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from timber.models.personal_data import neutral_values, person_column, stand_in
from timber.models.stored import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from sqlalchemy.sql.elements import ColumnElement

    from timber.models.config import ModelConfig
    from timber.models.feature_configs import PersonalDataConfig
    from timber.privacy.people import Person


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is looked for: the person, and what stands in for them in rows that an erasure has anonymised."""

    person: Person
    token: UUID | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A reference to rows that know the person of these."""

    column: str
    target: Holding
    target_column: str


class Holding:
    """The rows of a model that declares personal data.

    Args:
        config: the model.
        table: its table.
        way: how its rows lead to the person, where they do not all know them.

    Attributes:
        person: the column with the person's id, if there is one.
        stays: whether an erasure leaves the rows there, without what is personal in them.
        neutral: what the personal columns of a row that stays hold afterwards.
    """

    def __init__(self, config: ModelConfig, table: sa.Table, way: Way | None) -> None:
        personal = config.features.personal_data
        assert personal is not None
        self.config = config
        self.table = table
        self.way = way
        self.declared: PersonalDataConfig = personal
        self.name: str = config.name
        self.key: str = config.primary_key
        self.person: str | None = person_column(config)
        self.stays: bool = personal.on_erasure != "delete"
        self.neutral: dict[str, Any] = neutral_values(config) if self.stays else {}

    def __repr__(self) -> str:
        return f"<Holding of {self.name}>"

    @property
    def route(self) -> str:
        """How its rows lead to a person, in words."""
        ways = [self.person] if self.person is not None else []
        if self.way is not None:
            ways.append(f"{self.way.column} -> {self.way.target.name}")
        return " or ".join(ways)

    def of(self, subject: Subject, rows: Any = None) -> ColumnElement[bool]:
        """Rows that are about the person.

        Args:
            rows: the table under another name.
        """
        return self._about(subject, self.table if rows is None else rows, stood_in=False)

    def unfinished(self, subject: Subject, rows: Any = None) -> ColumnElement[bool]:
        """Rows that are about the person, and that an erasure has something to do with."""
        rows = self.table if rows is None else rows
        about = self.of(subject, rows)
        if not self.stays:
            return about
        mine = self._mine(subject, rows, stood_in=False)
        return sa.and_(about, sa.or_(mine, *self._not_emptied(rows)))

    def knowing(self, subject: Subject, column: str) -> sa.Select[Any]:
        """A column of the rows that others are reached through, those that have been anonymised included."""
        about = self._about(subject, self.table, stood_in=True)
        return sa.select(self.table.c[column]).where(about).correlate(None)

    def changes(self, subject: Subject, kept: Collection[str] = ()) -> list[dict[str, Any]]:
        """What anonymising sets, in one step or in two.

        Values that are encrypted for the person go before the person does: nothing has to be decrypted then to be
        encrypted for somebody else, and a key that is destroyed already is not missed.

        Args:
            kept: hidden columns that features empty by themselves.
        """
        values = {name: value for name, value in self.neutral.items() if name not in kept}
        person: dict[str, Any] = {}
        if self.person is not None and subject.token is not None:
            person[self.person] = stand_in(self.config, self.person, subject.token)
        encryption = self.config.features.encryption
        steps = [values, person]
        if encryption is None or not encryption.per_person:
            steps = [values | person]
        return [step for step in steps if step]

    def keeps_back(
        self, subject: Subject, reference: str, referred: ColumnElement[Any], rows: Any
    ) -> ColumnElement[bool]:
        """Rows that have to be dealt with before the row they refer to by the way to their person.

        Rows of somebody else who is known are not among them.
        """
        conditions = [rows.c[reference] == referred]
        if self.person is not None:
            value = subject.person.in_column(self.config, self.person)
            column = rows.c[self.person]
            # Written so that no index on the person is taken for each row: they are found by the reference.
            conditions.append(
                column.is_(None)
                if value is None
                else sa.func.coalesce(column, value) == sa.literal(value, column.type)
            )
        if self.stays:
            conditions.append(sa.or_(sa.false(), *self._not_emptied(rows)))
        return sa.and_(*conditions)

    # Inside

    def _about(self, subject: Subject, rows: Any, *, stood_in: bool) -> ColumnElement[bool]:
        mine = self._mine(subject, rows, stood_in=stood_in)
        if self.way is None:
            return mine
        target = self.way.target
        reached: ColumnElement[bool] = rows.c[self.way.column].in_(
            target.knowing(subject, self.way.target_column)
        )
        if self.person is None:
            return reached
        return sa.or_(mine, sa.and_(rows.c[self.person].is_(None), reached))

    def _mine(self, subject: Subject, rows: Any, *, stood_in: bool) -> ColumnElement[bool]:
        """Rows that name the person themselves; with ``stood_in`` also those that name the stand-in."""
        if self.person is None:
            return sa.false()
        column = rows.c[self.person]
        wanted = [subject.person.in_column(self.config, self.person)]
        if stood_in and self.stays and subject.token is not None:
            wanted.append(stand_in(self.config, self.person, subject.token))
        known = [sa.literal(value, column.type) for value in wanted if value is not None]
        return sa.or_(sa.false(), *(column == value for value in known))

    def _not_emptied(self, rows: Any) -> list[ColumnElement[bool]]:
        """For each personal column that it still holds something; of ciphertext that cannot be seen."""
        return [
            self._distinct(rows, name, value)
            for name, value in self.neutral.items()
            if value is None or not is_encrypted(self.config, name)
        ]

    def _distinct(self, rows: Any, name: str, value: Any) -> ColumnElement[bool]:
        column = rows.c[name]
        if value is None:
            missing: ColumnElement[bool] = column.is_not(None)
            return missing
        if isinstance(column.type, sa.JSON) and self.config.column(name).type.kind == "JSON":
            # Of its own the type json cannot be compared.
            jsonb = JSONB()
            return sa.cast(column, jsonb).is_distinct_from(sa.literal(value, jsonb))
        other: ColumnElement[bool] = column.is_distinct_from(sa.literal(value, column.type))
        return other
