"""The command itself."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from timber.cli.answers import Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of

Asked = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|SQL",
        help="A model, whose rows a repository would find, or an SQL text; its parameters may stay $1, $2.",
        show_default=False,
    ),
]
Conditions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONDITION]...",
        help="Of a model: status=active, amount>=10, title~gold (contains), metadata.symbol=AAPL.",
        show_default=False,
    ),
]
Order = Annotated[
    list[str] | None,
    typer.Option(
        "--order", help="A column to sort by, - before it for descending.", show_default=False
    ),
]
Limit = Annotated[int, typer.Option(help="How many rows.", min=1)]
Owner = Annotated[str | None, typer.Option(help="Whose rows alone.", show_default=False)]
Search = Annotated[
    str | None, typer.Option(help="Words to search the model's text for.", show_default=False)
]
Analyze = Annotated[
    bool, typer.Option("--analyze", help="Run it, for real times; what it writes is rolled back.")
]
AsIfLarge = Annotated[
    bool,
    typer.Option("--as-if-large", help="Show which index would serve if no table were small."),
]

_MODEL = re.compile(r"\w+")


def explain(
    asked: Asked,
    conditions: Conditions = None,
    order: Order = None,
    limit: Limit = 100,
    owner: Owner = None,
    search: Search = None,
    analyze: Analyze = False,
    as_if_large: AsIfLarge = False,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Show how PostgreSQL finds the rows of a query, and which indexes it uses."""
    import asyncio

    from timber.cli.explain.asking import Manner, Query, explain_query, explain_sql
    from timber.cli.explain.showing import remarks, show

    settings = settings_of(database_url, models)
    manner = Manner(analyze=analyze, as_if_large=as_if_large)
    if _MODEL.fullmatch(asked):
        query = Query(asked, tuple(conditions or ()), tuple(order or ()), limit, owner, search)
        explained = asyncio.run(explain_query(settings, query, manner))
    else:
        explained = asyncio.run(explain_sql(settings, asked, manner))
    if not as_json:
        show(explained)
        return
    data = {
        "sql": explained.sql,
        "indexes": sorted(set(explained.plan.indexes)),
        "cost": explained.plan.cost,
        "remarks": list(remarks(explained)),
        "plan": explained.plan.root,
    }
    answer(data, as_json=True)
