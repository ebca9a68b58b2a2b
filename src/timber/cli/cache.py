"""``timber cache``: what there is in Redis, and throwing it away."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timber.cli.answers import Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber.settings import TimberSettings

app: typer.Typer = typer.Typer(
    help="Look at what is cached in the Redis of TIMBER_CACHE_URL, or throw it away.",
    no_args_is_help=True,
)


@app.command()
def stats(database_url: DatabaseURL = None, models: Models = None, as_json: Json = False) -> None:
    """Count what is cached of each model, and the invalidations that Redis has not been told yet."""
    import asyncio

    data = asyncio.run(_stats(settings_of(database_url, models)))
    answer(data, _table(data), as_json=as_json)


@app.command()
def clear(
    model: Annotated[
        list[str] | None,
        typer.Argument(help="The models to clear; everything without one.", show_default=False),
    ] = None,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Throw copies away, in Redis and in every process; what is asked for is read from the database again."""
    import asyncio

    cleared = asyncio.run(_clear(settings_of(database_url, models), model or []))
    lines = [f"cleared {name}" for name in cleared] or ["Everything is cleared."]
    answer({"cleared": cleared or "everything"}, lines, as_json=as_json)


async def _stats(settings: TimberSettings) -> dict[str, Any]:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        inventory = await timber.cache.inventory()
        owed = await timber.cache.owed()
    held = sorted(inventory.models.items(), key=lambda pair: -pair[1].bytes)
    return {
        "models": {name: asdict(holding) for name, holding in held},
        "tags": inventory.tags,
        "owed": owed.number,
        "oldest_owed_seconds": owed.seconds,
    }


async def _clear(settings: TimberSettings, models: list[str]) -> list[str]:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        names = [timber.registry.model_config(model).name for model in models]
        if not names:
            await timber.cache.clear()
        for name in names:
            await timber.cache.invalidate(name)
    return names


def _table(data: dict[str, Any]) -> Iterator[str]:
    found: dict[str, dict[str, int]] = data["models"]
    width = max((len(name) for name in found), default=0)
    for name, held in found.items():
        yield (
            f"{name:<{width}}  {held['rows']:>8,} rows  {held['answers']:>8,} answers  "
            f"{held['bytes'] / 1024:>10,.1f} KB"
        )
    if not found:
        yield "Nothing is cached."
    yield f"{data['tags']:,} tags; {data['owed']:,} owed invalidations"
