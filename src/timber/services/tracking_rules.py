"""The rules of trackers and their events, whichever verb writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from typing_extensions import TypeVar

from timber.dto import DTO, InputDTO
from timber.errors import ValidationError
from timber.repository.source import check_names, listed
from timber.services.arguments import json_object, user
from timber.services.base import Service
from timber.services.foundation import Values
from timber.services.tracking_dtos import TrackerDTO, TrackerEventDTO

T = TypeVar("T", bound=TrackerDTO, default=TrackerDTO)

_LONGEST: Final = timedelta(days=36525)  # a century: a datetime ends with the year 9999


class RuledTrackers(Service[T]):
    """The generic verbs of trackers, kept to their rules."""

    model = "Tracker"
    dto: ClassVar[type[DTO] | None] = TrackerDTO

    async def update(
        self,
        id: UUID | str,
        changes: InputDTO | Mapping[str, object],
        *,
        merge: Iterable[str] = (),
        owner: str | None = None,
        expected_version: int | None = None,
    ) -> T:
        """Change columns of a tracker; with a new ``check_interval`` a check is due now, unless ``next_check_at`` says when.

        Raises:
            NotFoundError: there is no such tracker, or it is another owner's.
            StaleDataError: it has another version than ``expected_version`` by now.
        """
        key, merged = self._key(id), check_names(merge, "merge")

        async def write(fields: Values) -> T:
            return await self.repository.update(
                key, fields, merge=merged, owner=owner, expected_version=expected_version
            )

        fields = self._planned(_checked(self._changed_fields(changes)))
        return await self._updating(key, fields, write)

    async def upsert(
        self,
        values: InputDTO | Mapping[str, object],
        *,
        on: Iterable[str] = (),
        update: Iterable[str] | None = None,
    ) -> T:
        """Store a new tracker or, if there is one with the same key, change that one; a ``check_interval`` that is given
        makes a check due now, as it does in :meth:`update`.

        Raises:
            ConflictError: the existing tracker is another owner's.
        """
        given = self._new_fields(values)
        fields = self._checked_new(given)
        changed = values.model_fields_set if isinstance(values, InputDTO) else set(given)
        changed = (changed if update is None else set(check_names(update, "update"))) - {"id"}
        if "check_interval" in changed:
            changed |= fields.keys() - given.keys()
        return await super().upsert(fields, on=on, update=changed)

    async def _store(self, values: Values) -> T:
        return await self.repository.insert(self._checked_new(values))

    async def _store_many(self, rows: list[Values]) -> list[Any]:
        return await self.repository.insert_many(
            [self._checked_new(row, f"{index}.") for index, row in enumerate(rows)]
        )

    def _checked_new(self, values: Values, at: str = "") -> Values:
        user(values.get("user_id"), f"{at}user_id")
        if values.get("conditions") is None:
            raise ValidationError.of(f"{at}conditions", "are missing")
        return self._planned(_checked(values, at))

    def _planned(self, values: Values) -> Values:
        """The values with the time of the first check, where there is an interval and no time is given."""
        if "check_interval" not in values or values.get("next_check_at") is not None:
            return values
        first = None if values["check_interval"] is None else self.clock()
        return {**values, "next_check_at": first}


def _checked(values: Values, at: str = "") -> Values:
    interval = values.get("check_interval")
    if isinstance(interval, timedelta) and not timedelta() < interval <= _LONGEST:
        raise ValidationError.of(
            f"{at}check_interval", "is to be longer than no time, and at most 100 years"
        )
    if "metadata" not in values:
        return values
    return {**values, "metadata": json_object(values["metadata"], f"{at}metadata")}


class TrackerEvents(Service[TrackerEventDTO]):
    """The events of trackers by themselves."""

    model = "TrackerEvent"
    dto: ClassVar[type[DTO] | None] = TrackerEventDTO

    def checked(self, items: Iterable[object], now: datetime, *, at: str = "{}.") -> list[Values]:
        """The rows of new events, complete and held against their columns.

        Args:
            at: what an error puts before the name of a field, with the position of the row in braces.
        """
        source = self.repository.source
        rows: list[Values] = []
        for index, item in enumerate(listed(items)):
            place = at.format(index)
            row = self._new_fields(item, at=place)
            if "event_data" in row:
                source.check_json(f"{place}event_data", row["event_data"])
            rows.append({**row, "created_at": now})
        return rows
