"""A router over the rows of one model: list, get, create, update and delete."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from timber import Service, Timber
from timber.integrations.crud import VERBS, Crud, Verb
from timber.integrations.fastapi.answering import answer_response
from timber.integrations.fastapi.dependencies import TimberDep
from timber.integrations.fastapi.documenting import problems
from timber.integrations.running import models_of

if TYPE_CHECKING:
    from enum import Enum

_VERSION: Final = {"ETag": {"description": "The row's version.", "schema": {"type": "string"}}}
_PLACE: Final = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}
_SAME: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "The client has this version."}
}


def crud_router(
    model: str | type[Service[Any]],
    timber: Timber | None = None,
    *,
    verbs: Collection[Verb] = VERBS,
    tags: list[str | Enum] | None = None,
) -> APIRouter:
    """A router for ``app.include_router(crud_router("Invoice", timber), prefix="/invoices")``.

    Lists take a query parameter for each column and its comparisons (``amount__gte``), ``order_by``, ``limit`` and
    ``cursor``. The version of a row is its ETag; a change with ``If-Match`` is made only on that version. Where the model has
    an owner, that is the actor: 401 where nobody is known, 404 for the rows of others.

    Args:
        model: its name, or the class of a service of one's own.
        timber: the Timber with the models, which need not run yet; without one, the settings of the environment say them.
        verbs: those that there shall be.

    Raises:
        ConfigurationError: there is no such model.
    """
    crud = Crud(model, models_of(timber))
    router = APIRouter(tags=tags or [crud.config.name])
    for verb in VERBS:
        if verb in verbs:
            _ROUTES[verb](router, crud)
    return router


def _add(
    router: APIRouter,
    crud: Crud,
    path: str,
    endpoint: Callable[..., Any],
    annotations: dict[str, Any],
    **options: Any,
) -> None:
    """A route whose endpoint takes what only the model says."""
    endpoint.__annotations__.update(annotations)
    refused = [401] if crud.config.owner is not None else []
    if "if_match" in annotations:
        refused.append(412)
    options["responses"] = {**problems(*refused), **options.get("responses", {})}
    word = endpoint.__name__
    router.add_api_route(
        path,
        endpoint,
        name=f"{word} {crud.config.name}",
        summary=f"{word} {crud.config.name}",
        **options,
    )


def _key(crud: Crud) -> Any:
    column = crud.config.column(crud.config.primary_key)
    return Annotated[crud.key, Path(description=column.comment or "Its key.")]


_IF_MATCH: Final = Annotated[
    str | None, Header(alias="If-Match", description="The ETag of the version to change.")
]
_IF_NONE_MATCH: Final = Annotated[
    str | None, Header(alias="If-None-Match", description="The ETag of the version at hand.")
]


def _list(router: APIRouter, crud: Crud) -> None:
    async def list_(timber: TimberDep, query: Any) -> Response:
        return answer_response(await crud.list_rows(timber, query))

    list_.__name__ = "List"
    _add(
        router,
        crud,
        "",
        list_,
        {"query": Annotated[crud.query, Query()]},
        methods=["GET"],
        response_model=crud.page,
    )


def _get(router: APIRouter, crud: Crud) -> None:
    async def get(timber: TimberDep, key: Any, if_none_match: Any = None) -> Response:
        return answer_response(await crud.get_row(timber, key, if_none_match))

    get.__name__ = "Get"
    _add(
        router,
        crud,
        "/{key}",
        get,
        {"key": _key(crud), "if_none_match": _IF_NONE_MATCH},
        methods=["GET"],
        response_model=crud.read,
        responses={**_SAME, 200: {"headers": _VERSION}} if crud.config.versioned else {},
    )


def _create(router: APIRouter, crud: Crud) -> None:
    async def create(timber: TimberDep, request: Request, values: Any) -> Response:
        return answer_response(await crud.create_row(timber, values, request.url.path))

    create.__name__ = "Create"
    _add(
        router,
        crud,
        "",
        create,
        {"values": Annotated[crud.create, Body()]},
        methods=["POST"],
        status_code=201,
        response_model=crud.read,
        responses={201: {"headers": _PLACE | (_VERSION if crud.config.versioned else {})}},
    )


def _update(router: APIRouter, crud: Crud) -> None:
    async def update(timber: TimberDep, key: Any, changes: Any, if_match: Any = None) -> Response:
        return answer_response(await crud.update_row(timber, key, changes, if_match))

    update.__name__ = "Update"
    _add(
        router,
        crud,
        "/{key}",
        update,
        {
            "key": _key(crud),
            "changes": Annotated[crud.update, Body()],
            "if_match": _IF_MATCH,
        },
        methods=["PATCH"],
        response_model=crud.read,
        responses={200: {"headers": _VERSION}} if crud.config.versioned else {},
    )


def _delete(router: APIRouter, crud: Crud) -> None:
    async def delete(timber: TimberDep, key: Any, if_match: Any = None) -> Response:
        return answer_response(await crud.delete_row(timber, key, if_match))

    delete.__name__ = "Delete"
    _add(
        router,
        crud,
        "/{key}",
        delete,
        {"key": _key(crud), "if_match": _IF_MATCH},
        methods=["DELETE"],
        status_code=204,
        response_model=None,
    )


_ROUTES: Final[dict[Verb, Callable[[APIRouter, Crud], None]]] = {
    "list": _list,
    "get": _get,
    "create": _create,
    "update": _update,
    "delete": _delete,
}
