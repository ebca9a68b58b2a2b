"""DTOs of the copies of rows that a cache has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import pydantic
from pydantic import BaseModel

from timber.cache.copies import Copy

if TYPE_CHECKING:
    from timber.cache.codec import FrozenRow
    from timber.cache.model_cache import ModelCache
    from timber.repository.plans import Plan
    from timber.repository.source import Source

E = TypeVar("E", bound=BaseModel)


class Copies(Generic[E]):
    """How one DTO is made of a copy, and who may see it.

    Args:
        plan: of the DTO; every column that it reads is in the copy.

    Attributes:
        is_plain: whether nothing has to be awaited for it.
    """

    def __init__(self, source: Source, plan: Plan[E], cache: ModelCache) -> None:
        config = source.config
        self.is_plain: bool = plan.is_plain
        self._plan = plan
        self._check_owner = source.check_owner
        self._owner = config.owner
        self._is_soft = config.soft_delete
        self._columns = plan.columns
        self._places = {name: place for place, name in enumerate(plan.columns)}
        self._validate = plan.dto.__pydantic_validator__.validate_python
        chosen = set(plan.columns)
        self._thawers = tuple((n, thaw) for n, thaw in cache.codec.thawers if n in chosen)
        named = dict(zip(plan.columns, plan.keys, strict=False))
        extra = plan.dto.model_config.get("extra", "ignore")
        # A validator that passes over what it does not know takes the whole row under the names of the columns.
        self._takes_all = extra == "ignore" and all(name == key for name, key in named.items())
        self._named = tuple(named.items())

    def shown(self, frozen: FrozenRow, owner: object, *, live: bool) -> bool:
        """Whether a caller may see the row: it is theirs if an owner is named, and not deleted."""
        if live and self._is_soft and frozen["deleted_at"] is not None:
            return False
        return owner is None or (
            self._owner is not None and frozen[self._owner] == self._check_owner(owner)
        )

    def read(self, frozen: FrozenRow) -> E:
        """The DTO of a plain plan."""
        values = frozen.copy()
        for name, thaw in self._thawers:
            value = values[name]
            if value is not None:
                values[name] = thaw(value)
        if not self._takes_all:
            values = {key: values[name] for name, key in self._named}
        try:
            dto: E = self._validate(values)
        except pydantic.ValidationError:
            raise self._plan.misfit([values]) from None
        return dto

    def record(self, frozen: FrozenRow) -> Copy:
        """What the driver would have given for the plan."""
        values = frozen.copy()
        for name, thaw in self._thawers:
            if values[name] is not None:
                values[name] = thaw(values[name])
        return Copy(self._places, [values[name] for name in self._columns])
