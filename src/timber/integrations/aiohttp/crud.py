"""Routes over the rows of one model: list, get, create, update and delete."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiohttp import web

from timber import Service, Timber
from timber.integrations.aiohttp.requests import read_body, read_query, timber_of
from timber.integrations.aiohttp.responses import answer_response
from timber.integrations.crud import VERBS, Crud, Verb
from timber.integrations.running import models_of


def crud_routes(
    path: str,
    model: str | type[Service[Any]],
    timber: Timber | None = None,
    *,
    verbs: Collection[Verb] = VERBS,
) -> list[web.RouteDef]:
    """Routes for ``app.add_routes(crud_routes("/invoices", "Invoice", timber))``.

    Lists take a query parameter for each column and its comparisons (``amount__gte``), ``order_by``, ``limit`` and
    ``cursor``. The version of a row is its ETag; a change with ``If-Match`` is made only on that version. Where the model has
    an owner, that is the actor: 401 where nobody is known, 404 for the rows of others.

    Args:
        path: where the list is; a row is at ``path/{key}``.
        model: its name, or the class of a service of one's own.
        timber: the Timber with the models, which need not run yet; without one, the settings of the environment say them.
        verbs: those that there shall be.

    Raises:
        ConfigurationError: there is no such model.
    """
    crud = Crud(model, models_of(timber))
    row = f"{path}/{{key}}"

    async def list_(request: web.Request) -> web.Response:
        query = read_query(request, crud.query)
        return answer_response(await crud.list_rows(timber_of(request), query))

    async def get(request: web.Request) -> web.Response:
        known = request.headers.get("If-None-Match")
        key = request.match_info["key"]
        return answer_response(await crud.get_row(timber_of(request), key, known))

    async def create(request: web.Request) -> web.Response:
        values = await read_body(request, crud.create)
        return answer_response(await crud.create_row(timber_of(request), values, request.path))

    async def update(request: web.Request) -> web.Response:
        changes = await read_body(request, crud.update)
        match = request.headers.get("If-Match")
        key = request.match_info["key"]
        return answer_response(await crud.update_row(timber_of(request), key, changes, match))

    async def delete(request: web.Request) -> web.Response:
        match = request.headers.get("If-Match")
        key = request.match_info["key"]
        return answer_response(await crud.delete_row(timber_of(request), key, match))

    routes = {
        "list": web.get(path, list_),
        "get": web.get(row, get),
        "create": web.post(path, create),
        "update": web.patch(row, update),
        "delete": web.delete(row, delete),
    }
    return [route for verb, route in routes.items() if verb in verbs]
