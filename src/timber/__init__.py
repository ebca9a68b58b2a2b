"""Async persistence for Python services on PostgreSQL.

The front door: every public name, each imported from its room when it is first asked for, so that ``import timber`` by
itself loads neither SQLAlchemy nor a driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timber.app import Timber, initialize_timber
    from timber.cache.cached import cached
    from timber.context import acting_as, current_actor, deadline
    from timber.database.manager import AsyncDatabaseManager
    from timber.database.monitoring import Plan, PoolStatus
    from timber.database.outcome import outcome_of
    from timber.database.unit_of_work import UnitOfWork
    from timber.dto import DTO, CursorPage, InputDTO, Page, SearchHit
    from timber.errors import (
        CommitOutcomeUnknownError,
        ConfigurationError,
        ConflictError,
        DatabaseError,
        DecryptionError,
        EncryptionError,
        FeatureBypassedError,
        FieldProblem,
        KeyDestroyedError,
        KeyNotFoundError,
        NotFoundError,
        Outcome,
        PermissionDeniedError,
        PoolTimeoutError,
        QueryTimeoutError,
        SerializationError,
        ServiceError,
        StaleDataError,
        UnavailableError,
        UnitOfWorkClosedError,
        UnitOfWorkDoomedError,
        UnitOfWorkSharedError,
        UsageError,
        ValidationError,
    )
    from timber.features.embedding.embedder import Embedder, QueryEmbedder
    from timber.features.embedding.embedding import EmbeddingOptions
    from timber.features.embedding.jobs import EmbeddingStatus
    from timber.features.embedding.provider import EmbeddingProvider
    from timber.features.feature import (
        Companion,
        Feature,
        FeatureModel,
        FeatureProvider,
        Write,
    )
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry
    from timber.repository.repository import Repository
    from timber.repository.subscriptions import Subscription
    from timber.services.base import Service
    from timber.services.notifications import (
        NotificationCreate,
        NotificationDTO,
        NotificationService,
        Template,
    )
    from timber.services.research import ResearchCreate, ResearchDTO, ResearchService
    from timber.services.sessions import SessionCreate, SessionDTO, SessionEventDTO, SessionService
    from timber.services.tracking import (
        Bucket,
        TrackerCreate,
        TrackerDTO,
        TrackerEventCreate,
        TrackerEventDTO,
        TrackingService,
    )
    from timber.settings import TimberSettings

__all__ = [
    "DTO",
    "AsyncDatabaseManager",
    "Bucket",
    "CommitOutcomeUnknownError",
    "Companion",
    "ConfigurationError",
    "ConflictError",
    "CursorPage",
    "DatabaseError",
    "DecryptionError",
    "Embedder",
    "EmbeddingOptions",
    "EmbeddingProvider",
    "EmbeddingStatus",
    "EncryptionError",
    "Feature",
    "FeatureBypassedError",
    "FeatureModel",
    "FeatureProvider",
    "FieldProblem",
    "InputDTO",
    "KeyDestroyedError",
    "KeyNotFoundError",
    "ModelConfig",
    "ModelRegistry",
    "NotFoundError",
    "NotificationCreate",
    "NotificationDTO",
    "NotificationService",
    "Outcome",
    "Page",
    "PermissionDeniedError",
    "Plan",
    "PoolStatus",
    "PoolTimeoutError",
    "QueryEmbedder",
    "QueryTimeoutError",
    "Repository",
    "ResearchCreate",
    "ResearchDTO",
    "ResearchService",
    "SearchHit",
    "SerializationError",
    "Service",
    "ServiceError",
    "SessionCreate",
    "SessionDTO",
    "SessionEventDTO",
    "SessionService",
    "StaleDataError",
    "Subscription",
    "Template",
    "Timber",
    "TimberSettings",
    "TrackerCreate",
    "TrackerDTO",
    "TrackerEventCreate",
    "TrackerEventDTO",
    "TrackingService",
    "UnavailableError",
    "UnitOfWork",
    "UnitOfWorkClosedError",
    "UnitOfWorkDoomedError",
    "UnitOfWorkSharedError",
    "UsageError",
    "ValidationError",
    "Write",
    "acting_as",
    "cached",
    "current_actor",
    "deadline",
    "initialize_timber",
    "outcome_of",
]

_ROOMS = {
    "timber.app": ("Timber", "initialize_timber"),
    "timber.cache.cached": ("cached",),
    "timber.context": ("acting_as", "current_actor", "deadline"),
    "timber.database.manager": ("AsyncDatabaseManager",),
    "timber.database.monitoring": ("Plan", "PoolStatus"),
    "timber.database.outcome": ("outcome_of",),
    "timber.database.unit_of_work": ("UnitOfWork",),
    "timber.features.embedding.embedder": ("Embedder", "QueryEmbedder"),
    "timber.features.embedding.embedding": ("EmbeddingOptions",),
    "timber.features.embedding.jobs": ("EmbeddingStatus",),
    "timber.features.embedding.provider": ("EmbeddingProvider",),
    "timber.features.feature": (
        "Companion",
        "Feature",
        "FeatureModel",
        "FeatureProvider",
        "Write",
    ),
    "timber.dto": ("DTO", "CursorPage", "InputDTO", "Page", "SearchHit"),
    "timber.models.config": ("ModelConfig",),
    "timber.models.registry": ("ModelRegistry",),
    "timber.repository.repository": ("Repository",),
    "timber.repository.subscriptions": ("Subscription",),
    "timber.services.base": ("Service",),
    "timber.services.notifications": (
        "NotificationCreate",
        "NotificationDTO",
        "NotificationService",
        "Template",
    ),
    "timber.services.research": ("ResearchCreate", "ResearchDTO", "ResearchService"),
    "timber.services.sessions": (
        "SessionCreate",
        "SessionDTO",
        "SessionEventDTO",
        "SessionService",
    ),
    "timber.services.tracking": (
        "Bucket",
        "TrackerCreate",
        "TrackerDTO",
        "TrackerEventCreate",
        "TrackerEventDTO",
        "TrackingService",
    ),
    "timber.settings": ("TimberSettings",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'timber' has no attribute {name!r}")
    # What is in no other room is an error.
    value = getattr(import_module(_ROOM_OF.get(name, "timber.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
