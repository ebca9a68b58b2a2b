"""DTOs of the copies of rows that a cache has."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pydantic
from pydantic import BaseModel

from timber.cache.copies import Copy

if TYPE_CHECKING:
    from timber.cache.codec import Frozen
    from timber.cache.model_cache import ModelCache
    from timber.repository.plans import Plan
    from timber.repository.source import Source

E = TypeVar("E", bound=BaseModel)


class Copies(Generic[E]):
    """How one DTO is made of a copy, and who may see it.

    Args:
        plan: of the DTO; every column that it reads is in the copy.
    """

    def __init__(self, source: Source, plan: Plan[E], cache: ModelCache) -> None:
        codec = cache.codec
        places = {name: place for place, name in enumerate(codec.names)}
        chosen = [places[name] for name in plan.columns]
        config = source.config
        self.is_plain = plan.is_plain
        self._plan = plan
        self._codec = codec
        self._source = source
        self._places = {name: place for place, name in enumerate(plan.columns)}
        self._owner = None if config.owner is None else places[config.owner]
        self._deleted = places["deleted_at"] if config.soft_delete else None
        self._keys = plan.keys
        self._validate = plan.dto.__pydantic_validator__.validate_python
        self._chosen = _chooser(chosen, len(codec.names))
        at = {place: position for position, place in enumerate(chosen)}
        self._thawers = [(at[place], thaw) for place, thaw in codec.thawers if place in at]
        self._key_thawers = [
            (plan.keys[position], thaw)
            for position, thaw in self._thawers
            if position < len(plan.keys)
        ]

    def shows(self, frozen: Frozen | None, owner: object, *, live: bool) -> bool:
        """Whether a caller may see the row: it is there, theirs if an owner is named, and not deleted."""
        if not frozen:
            return False
        if live and self._deleted is not None and frozen[self._deleted] is not None:
            return False
        if owner is None:
            return True
        checked = self._source.check_owner(owner)
        return self._owner is not None and frozen[self._owner] == checked

    def read(self, frozen: Frozen) -> E:
        """The DTO of a plain plan."""
        values = dict(zip(self._keys, self._chosen(frozen), strict=False))
        for key, thaw in self._key_thawers:
            value = values[key]
            if value is not None:
                values[key] = thaw(value)
        try:
            dto: E = self._validate(values)
        except pydantic.ValidationError as error:
            raise self._plan.misfit(error) from None
        return dto

    def record(self, frozen: Frozen) -> Copy:
        """What the driver would have given for the plan."""
        values = list(self._chosen(frozen))
        for position, thaw in self._thawers:
            if values[position] is not None:
                values[position] = thaw(values[position])
        return Copy(self._places, values)


def _chooser(places: list[int], number: int) -> Any:
    if places == list(range(number)):
        return _all
    if len(places) == 1:
        return lambda frozen: (frozen[places[0]],)
    return itemgetter(*places)


def _all(frozen: Frozen) -> Frozen:
    return frozen
