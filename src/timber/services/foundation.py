"""What carries a service: its repository, its logger, and hooks that run in the transaction of their write."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, Self
from uuid import UUID

import pydantic
from typing_extensions import TypeVar

from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO
from timber.errors import ConfigurationError, ValidationError
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.repository import Repository
from timber.services.guard import guard_methods
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache

D = TypeVar("D", bound=DTO)
E = TypeVar("E", bound=pydantic.BaseModel)
T = TypeVar("T")

Values = Mapping[str, Any]
Verb = Literal["create", "update", "delete"]

HOOKS: Final[Mapping[Verb, tuple[str, str]]] = {
    "create": ("before_create", "after_create"),
    "update": ("before_update", "after_update"),
    "delete": ("before_delete", "after_delete"),
}
_HOOK_NAMES: Final = frozenset(name for names in HOOKS.values() for name in names)


class Foundation(Generic[D]):
    """Everything of a service but its verbs.

    Args:
        db: the database manager.
        registry: the models; the built-in ones alone where none is given.
        clock: gives the current time; the manager's where nothing is said.
        model: the name of the model, where the class does not say it.
        dto: what rows are given as, where the class does not say it; else the model's generated one.
        cache: where reads come from, and what writes have to tell.
        features: what is provided for models that declare features.

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
        features: Features | None = None,
        cache: CoherentCache | None = None,
    ) -> None:
        self.name: str = model or self.model
        if not self.name:
            raise ConfigurationError(
                f'{type(self).__name__} does not say whose rows it serves: set `model = "Invoice"` in the class.'
            )
        self.db = db
        self.registry: ModelRegistry = registry if registry is not None else ModelRegistry()
        self.clock: Callable[[], datetime] = clock or db.clock
        self.features = features
        self.cache = cache
        self.logger: logging.Logger = logging.getLogger(
            f"{type(self).__module__}.{type(self).__qualname__}"
        )
        rows: Any = dto or self.dto or self.registry.read_dto(self.name)
        self.repository: Repository[D] = self.repository_of(self.name, rows)

    @classmethod
    def of_settings(
        cls,
        db: AsyncDatabaseManager,
        registry: ModelRegistry,
        settings: TimberSettings,  # noqa: ARG003  # for services that have settings of their own
        features: Features | None = None,
        cache: CoherentCache | None = None,
    ) -> Self:
        """The service as a :class:`~timber.Timber` with these settings has it."""
        return cls(db, registry=registry, features=features, cache=cache)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._hooked = frozenset(
            verb
            for verb, names in HOOKS.items()
            if any(getattr(cls, name) is not getattr(Foundation, name) for name in names)
        )
        guard_methods(cls, but=_HOOK_NAMES)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameter: Any) -> Any:
            """``SessionService[MySession]`` is a service of those DTOs at run time too, called or subclassed."""
            if isinstance(parameter, type) and issubclass(parameter, DTO):
                return _typed(cls, parameter)
            return super().__class_getitem__(parameter)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}>"

    def repository_of(self, model: str, dto: type[E]) -> Repository[E]:
        """A repository of any model of the registry, for a service over more than one."""
        rows = self.registry.get_model(model)
        return Repository(
            self.db, rows, dto, clock=self.clock, features=self.features, cache=self.cache
        )

    # Hooks

    async def before_create(self, values: Values) -> Values:
        """The values to store instead of those given."""
        return values

    async def after_create(self, dto: D) -> None:
        """What else is to happen with a new row; an error undoes it."""

    async def before_update(self, id: UUID, changes: Values) -> Values:  # noqa: ARG002  # for those who override it
        """The changes to make instead of those given."""
        return changes

    async def after_update(self, dto: D) -> None:
        """What else is to happen with a changed row; an error undoes the change."""

    async def before_delete(self, id: UUID) -> None:
        """What is to happen while the row is still there; an error keeps it."""

    async def after_delete(self, id: UUID) -> None:
        """What else is to happen when the row is gone; an error brings it back."""

    # Writes with their hooks

    async def _creating(self, values: Values, write: Callable[[Values], Awaitable[D]]) -> D:
        if "create" not in self._hooked:
            dto = await write(values)
        else:
            async with self.db.join_or_begin():
                dto = await write(await self.before_create(values))
                await self.after_create(dto)
        self._log("Created", self._key_of(dto))
        return dto

    async def _creating_many(
        self, rows: list[Values], write: Callable[[list[Values]], Awaitable[list[Any]]]
    ) -> list[Any]:
        if "create" not in self._hooked:
            keys = await write(rows)
        else:
            async with self.db.join_or_begin():
                keys = await write([await self.before_create(row) for row in rows])
                for dto in await self.repository.get_many(keys):
                    await self.after_create(dto)
        self.logger.info("Created %d rows of %s.", len(keys), self.name)
        return keys

    async def _updating(
        self, key: Any, changes: Values, write: Callable[[Values], Awaitable[D]]
    ) -> D:
        if "update" not in self._hooked:
            dto = await write(changes)
        else:
            async with self.db.join_or_begin():
                dto = await write(await self.before_update(key, changes))
                await self.after_update(dto)
        self._log("Updated", key)
        return dto

    async def _deleting(self, key: Any, write: Callable[[], Awaitable[T]]) -> T:
        if "delete" not in self._hooked:
            result = await write()
        else:
            async with self.db.join_or_begin():
                await self.before_delete(key)
                result = await write()
                await self.after_delete(key)
        self._log("Deleted", key)
        return result

    # Inside

    def _log(self, done: str, key: object) -> None:
        self.logger.info("%s %s %s.", done, self.name, key)

    def _key_of(self, dto: D) -> Any:
        return getattr(dto, self.repository.config.primary_key, None)

    def _key(self, value: object, field: str | None = None) -> Any:
        """The key of a row, checked; an error names ``field``."""
        if type(value) is UUID:
            return value
        try:
            return self.repository.source.check_key(value)
        except ValidationError as error:
            raise ValidationError.of(
                field or self.repository.config.primary_key, error.errors[0].problem
            ) from None

    def _checked_columns(self, fields: Values, at: str = "") -> dict[str, Any]:
        """Values held against their columns before a first statement that does not send them."""
        source = self.repository.source
        checked = {}
        for name, value in fields.items():
            source.column(name, f"{at}{name}")
            try:
                checked[name] = source.check(name, value)
            except ValidationError as error:
                raise error.at(f"{at}{name}") from None
        return checked

    def _new_fields(self, values: object, id: object = None, *, at: str = "") -> Values:
        """The columns of a new row as a caller may set them."""
        fields = _fields(values, self.registry.create_dto(self.name), at)
        if isinstance(values, pydantic.BaseModel):
            # A default that the caller's own input model declares is meant; None only stands for "nothing given".
            for name in type(values).model_fields:
                if name not in fields and (default := getattr(values, name)) is not None:
                    fields[name] = default
        if id is not None:
            fields[self.repository.config.primary_key] = self._key(id)
        return fields

    def _changed_fields(self, changes: object) -> Values:
        """The columns of a row as a caller may change them."""
        return _fields(changes, self.registry.update_dto(self.name), "")


def _fields(values: object, known: type[pydantic.BaseModel], at: str) -> dict[str, Any]:
    if isinstance(values, Mapping):
        try:
            values = known.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error, prefix=at) from None
    elif not isinstance(values, pydantic.BaseModel):
        raise ValidationError.of(f"{at}values", "is to be a mapping of columns or an input DTO")
    return {name: getattr(values, name) for name in values.model_fields_set}


@functools.lru_cache(maxsize=256)
def _typed(cls: type[Foundation[Any]], dto: type[DTO]) -> type[Foundation[Any]]:
    return type(
        f"{cls.__name__}[{dto.__name__}]", (cls,), {"dto": dto, "__module__": cls.__module__}
    )
