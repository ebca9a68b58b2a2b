"""What the work on persons' data is done with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timber.repository import Repository

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit import AuditLog
    from timber.privacy.places import PersonKeys, Place
    from timber.privacy.planning import PersonalModels

Repositories = Callable[[str], Repository[Any]]
"""The repository of a model by its name, with the model's features."""


@dataclass(frozen=True, slots=True)
class Means:
    """The database, the models with their repositories, and what is kept of persons beside them.

    Attributes:
        keys: where persons' own data keys are, if they have some.
        audit: what records who did what to rows of audited models, if there are some.
        places: where else something of a person is kept.
    """

    db: AsyncDatabaseManager
    models: PersonalModels
    repositories: Repositories
    keys: PersonKeys | None = None
    audit: AuditLog | None = None
    places: tuple[Place, ...] = ()

    def audits(self, model: str) -> bool:
        """Whether the rows of a model are audited."""
        return self.models.config(model).features.audit is not None
