"""The repository of one model: every verb over its table, rows in, DTOs out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from timber.database.statements import StatementCache
from timber.features.built_in import features_without_settings
from timber.models.dto_check import check_dto
from timber.repository.bulk import Bulk
from timber.repository.changing import Changing
from timber.repository.feeding import Feeding
from timber.repository.linking import Linking
from timber.repository.listing import Listing
from timber.repository.rows import Rows
from timber.repository.scheduling import Scheduling
from timber.repository.scrolling import Scrolling
from timber.repository.searching import Searching
from timber.repository.source import Source
from timber.repository.streaming import Streaming
from timber.repository.timelines import Timelines
from timber.repository.trimming import Trimming
from timber.repository.upserting import Upserting
from timber.repository.where import Where

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from timber.cache.coherence.cache import CoherentCache
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.providers import Features
    from timber.models.config import ModelConfig

D = TypeVar("D", bound=BaseModel)


class Repository(
    Listing[D],
    Scrolling[D],
    Streaming[D],
    Searching[D],
    Timelines[D],
    Upserting[D],
    Bulk[D],
    Changing[D],
    Trimming[D],
    Scheduling[D],
    Linking[D],
    Feeding[D],
):
    """Stores and finds the rows of one model as DTOs.

    Each call joins the unit of work of its task, or runs alone. Statements are compiled once for each shape of call.

    Args:
        db: the database manager.
        model: a mapped class out of a registry.
        dto: what rows are given as; it reads only the columns it has fields for. A field with an alias reads the column of
            that name.
        clock: gives the current time; the manager's where nothing is said.
        features: what is provided for models that declare features; only what needs no setting where nothing is said.
        cache: where reads come from, and what writes have to tell.

    Raises:
        ConfigurationError: the DTO has a field that is no column, or the model declares a feature that is not provided.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        model: type[Any],
        dto: type[D],
        *,
        clock: Callable[[], datetime] | None = None,
        features: Features | None = None,
        cache: CoherentCache | None = None,
    ) -> None:
        self.db = db
        self.model = model
        self.dto: type[D] = dto
        provided = features if features is not None else features_without_settings()
        self._features_of = partial(provided.orchestrator, db)
        self._features = self._features_of(model)
        self.source: Source = Source(model, clock or db.clock, self._features)
        self.config: ModelConfig = self.source.config
        check_dto(self.config, dto)
        self.where: Where = Where(self.source)
        self._rows = Rows(self.source)
        self._cache = cache.models.get(self.source.name) if cache is not None else None
        self._statements = StatementCache()
        self._plans = {}
        self._copies = {}
        self._has_uuid_keys = self.config.column(self.source.key).type.kind == "UUID"
        self._plan(dto)

    def __repr__(self) -> str:
        return f"<Repository of {self.source.name} as {self.dto.__name__}>"
