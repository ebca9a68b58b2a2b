"""What all services share: a repository, the generic verbs, and hooks that run in the transaction of their write."""

from __future__ import annotations

import builtins
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal
from uuid import UUID

import pydantic
from typing_extensions import TypeVar

from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO, InputDTO, Page, SearchHit
from timber.errors import ConfigurationError, ConflictError, ValidationError
from timber.models.registry import ModelRegistry
from timber.repository import Repository
from timber.services.guard import guard_methods

D = TypeVar("D", bound=DTO)

Values = Mapping[str, object]
OrderBy = str | tuple[str, ...] | list[str] | None
Verb = Literal["create", "update", "delete"]

HOOKS: Final[Mapping[Verb, tuple[str, str]]] = {
    "create": ("before_create", "after_create"),
    "update": ("before_update", "after_update"),
    "delete": ("before_delete", "after_delete"),
}

# What a table does by itself, or what says only something about the data.
_NOT_NEEDING_A_PROVIDER: Final = frozenset({"search", "personal_data", "cache"})


class Service(Generic[D]):
    """The verbs of one model, and the place for a domain's own methods and rules.

    Subclass it with the DTO of its rows, ``class InvoiceService(Service[InvoiceRead])``, and name the model. Every verb
    joins the unit of work of its task or runs alone. A hook that a subclass overrides runs in one transaction with its
    write: an error in it undoes both.

    Args:
        db: the database manager.
        registry: the models; the built-in ones alone where none is given.
        clock: gives the current time; the manager's where nothing is said.
        model: the name of the model, where the class does not say it.
        dto: what rows are given as, where the class does not say it; else the model's generated one.

    Raises:
        ConfigurationError: no model is named, it is not in the registry, the DTO does not fit it, or it declares a
            feature that nobody provides.
    """

    model: ClassVar[str] = ""
    """The name of the model."""
    dto: ClassVar[type[DTO] | None] = None
    """What rows are given as."""
    _hooked: ClassVar[frozenset[Verb]] = frozenset()

    def __init__(
        self,
        db: AsyncDatabaseManager,
        *,
        registry: ModelRegistry | None = None,
        clock: Callable[[], datetime] | None = None,
        model: str | None = None,
        dto: type[D] | None = None,
    ) -> None:
        name = model or self.model
        if not name:
            raise ConfigurationError(
                f"{type(self).__name__} does not say whose rows it serves: set `model = \"Invoice\"` in the class."
            )
        self.db = db
        self.registry = registry if registry is not None else ModelRegistry()
        self.clock = clock or db.clock
        self.logger = logging.getLogger(f"{type(self).__module__}.{type(self).__qualname__}")
        rows: Any = dto or self.dto or self.registry.read_dto(name)
        self.repository: Repository[D] = self.repository_of(name, rows)
        self._name = name

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._hooked = frozenset(
            verb
            for verb, names in HOOKS.items()
            if any(getattr(cls, name) is not getattr(Service, name) for name in names)
        )
        guard_methods(cls, but=_HOOK_NAMES)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameter):
            # So that SessionService[MySession] is that at run time too, called or subclassed.
            if isinstance(parameter, type) and issubclass(parameter, DTO):
                return _typed(cls, parameter)
            return super().__class_getitem__(parameter)

    def repository_of(self, model: str, dto: type[D]) -> Repository[D]:
        """A repository of another model of the registry, for a service over more than one."""
        config = self.registry.model_config(model)
        missing = [name for name in config.features.declared if name not in _NOT_NEEDING_A_PROVIDER]
        if missing:
            raise ConfigurationError(
                f"{model} declares {', '.join(missing)}, and nobody provides it. Remove it from the model's features."
            )
        return Repository(self.db, self.registry.get_model(model), dto, clock=self.clock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}>"
