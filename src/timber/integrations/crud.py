"""The rows of one model over HTTP: what each answer is, whichever framework sends it.

The version of a row is its ETag: a change with ``If-Match`` is made only on that version, else it is 412. Where the model has
an owner, that is the actor of the request, who sees no rows but their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from timber.dto import DTO, CursorPage, InputDTO
from timber.errors import StaleDataError
from timber.integrations.actors import require_actor
from timber.integrations.inputs import given, web_input
from timber.integrations.listing import ListQuery, conditions, list_query
from timber.integrations.problems import PreconditionFailedError
from timber.models.values import PYTHON_TYPES

if TYPE_CHECKING:
    from timber import Timber
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry
    from timber.services.base import Service

Verb = Literal["list", "get", "create", "update", "delete"]
VERBS: Final[tuple[Verb, ...]] = ("list", "get", "create", "update", "delete")

_TAG: Final = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a JSON body, or none."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Crud:
    """The five verbs of one model.

    Args:
        model: its name, or the class of a service of one's own.
        registry: the models that its inputs and outputs are made from.

    Attributes:
        key: the type of a row's key.
        query, create, update, read, page: the models of what is sent and answered, for documentation and parsing.
    """

    def __init__(self, model: str | type[Service[Any]], registry: ModelRegistry) -> None:
        self._service = model
        self.config: ModelConfig = registry.model_config(
            model if isinstance(model, str) else model.model
        )
        name = self.config.name
        own = None if isinstance(model, str) else model.dto
        self.key: Any = PYTHON_TYPES[self.config.column(self.config.primary_key).type.kind]
        self.query: type[ListQuery] = list_query(self.config)
        self.create: type[InputDTO] = web_input(self.config, registry.create_dto(name))
        self.update: type[InputDTO] = web_input(self.config, registry.update_dto(name))
        self.read: type[DTO] = own or registry.read_dto(name)
        self.page: Any = CursorPage[self.read]  # type: ignore[name-defined]

    async def list_rows(self, timber: Timber, query: ListQuery) -> Answer:
        """A page of rows."""
        repository = self._of(timber).repository
        page = await repository.scroll(
            *conditions(repository.where, query),
            cursor=query.cursor,
            limit=query.limit,
            order_by=tuple(query.order_by) or None,
            owner=self._owner(),
        )
        cursors = CursorPage[Any](
            items=[], next_cursor=page.next_cursor, previous_cursor=page.previous_cursor
        )
        rest = cursors.model_dump_json(exclude={"items"}).encode()
        items = b",".join(row.model_dump_json().encode() for row in page.items)
        return Answer(200, b'{"items":[' + items + b"]," + rest[1:])

    async def get_row(self, timber: Timber, key: Any, if_none_match: str | None) -> Answer:
        """One row; 304 where the client has this version already."""
        row = await self._of(timber).get(key, owner=self._owner())
        tag = self._tag(row)
        if tag is not None and if_none_match is not None and _names(if_none_match, tag):
            return Answer(304, headers={"ETag": tag})
        return self._row(200, row)

    async def create_row(self, timber: Timber, values: InputDTO, path: str) -> Answer:
        """A new row, and where it is."""
        fields = given(values)
        if self.config.owner is not None:
            fields[self.config.owner] = self._owner()
        row = await self._of(timber).create(fields)
        answer = self._row(201, row)
        key = getattr(row, self.config.primary_key, None)
        if key is not None:
            answer.headers["Location"] = f"{path.rstrip('/')}/{key}"
        return answer

    async def update_row(
        self, timber: Timber, key: Any, changes: InputDTO, if_match: str | None
    ) -> Answer:
        """The row as it is then.

        Raises:
            PreconditionFailedError: it has another version than the client's.
        """
        service, fields, owner = self._of(timber), given(changes), self._owner()
        if if_match is None:
            return self._row(200, await service.update(key, fields, owner=owner))
        versions = self._versions(if_match)
        if len(versions) == 1:
            [version] = versions
            try:
                row = await service.update(key, fields, owner=owner, expected_version=version)
            except StaleDataError as error:
                raise PreconditionFailedError from error
            return self._row(200, row)
        async with timber.unit_of_work():
            await self._check_match(service, key, if_match)
            row = await service.update(key, fields, owner=owner)
        return self._row(200, row)

    async def delete_row(self, timber: Timber, key: Any, if_match: str | None) -> Answer:
        """Nothing.

        Raises:
            PreconditionFailedError: it has another version than the client's.
        """
        service, owner = self._of(timber), self._owner()
        if if_match is None:
            await service.delete(key, owner=owner)
            return Answer(204)
        async with timber.unit_of_work():
            await self._check_match(service, key, if_match)
            await service.delete(key, owner=owner)
        return Answer(204)

    # Inside

    def _of(self, timber: Timber) -> Service[Any]:
        service: Service[Any] = timber.service(self._service)
        return service

    def _owner(self) -> str | None:
        return None if self.config.owner is None else require_actor()

    def _tag(self, row: DTO) -> str | None:
        version = getattr(row, "version", None) if self.config.versioned else None
        return None if version is None else f'"{version}"'

    def _row(self, status: int, row: DTO) -> Answer:
        tag = self._tag(row)
        headers = {} if tag is None else {"ETag": tag}
        return Answer(status, row.model_dump_json().encode(), headers)

    def _versions(self, if_match: str) -> set[int]:
        """The versions that a client names, as far as they can be some."""
        if not self.config.versioned:
            return set()
        tags = [tag for weak, tag in _TAG.findall(if_match) if not weak]
        return {int(tag) for tag in tags if tag.isascii() and tag.isdecimal() and len(tag) < 10}

    async def _check_match(self, service: Service[Any], key: Any, if_match: str) -> None:
        """Lock the row, and hold its version against the client's."""
        row = await service.repository.for_update(key, owner=self._owner())
        if if_match.strip() != "*" and getattr(row, "version", None) not in self._versions(
            if_match
        ):
            raise PreconditionFailedError


def _names(if_none_match: str, tag: str) -> bool:
    """Whether a client has this version, or any."""
    if if_none_match.strip() == "*":
        return True
    return any(f'"{known}"' == tag for _, known in _TAG.findall(if_none_match))
