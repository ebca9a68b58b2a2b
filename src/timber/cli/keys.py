"""``timber keys``: the master keys of encrypted columns, and what is under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from timber.cli.answers import FOUND, Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.features.encryption import EncryptionProvider, KeySet
    from timber.features.encryption.reporting import KeyUse
    from timber.features.encryption.rotation import Rotated
    from timber.settings import TimberSettings

app: typer.Typer = typer.Typer(
    help="Make the keys of encrypted columns, change to another one, and see what is under which.",
    no_args_is_help=True,
)


@app.command()
def new(
    primary: Annotated[
        bool,
        typer.Option(
            "--primary",
            help="Encrypt with it from now on. Without it a key is only known, until `timber keys rotate --to`.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a key, and write it to the key file that TIMBER_ENCRYPTION_KEYS names."""
    from timber.features.encryption import EnvironmentKeyRing
    from timber.features.encryption.keys import encode_key, new_key, new_key_id

    ring = _ring(settings_of())
    if isinstance(ring, EnvironmentKeyRing):
        key_id = new_key_id()
        entry = f"{key_id}:{encode_key(new_key())}"
        lines = [
            entry,
            f"Put it into {ring.variable}, between commas: in the first place to encrypt with it, else behind.",
        ]
        answer({"key": key_id, "entry": entry}, lines, as_json=as_json)
        return
    key_id = ring.add(primary=primary)
    is_primary = ring.known().primary == key_id
    what = "and values are encrypted with it from now on" if is_primary else "which is only known"
    data = {"key": key_id, "primary": is_primary, "file": ring.path}
    answer(data, [f"wrote the key {key_id} to {ring.path}, {what}"], as_json=as_json)


@app.command()
def status(database_url: DatabaseURL = None, models: Models = None, as_json: Json = False) -> None:
    """Count the values of each encrypted column by the keys they are under; 1 if there are any that cannot be read."""
    import asyncio

    keys, usage = asyncio.run(_look(settings_of(database_url, models)))
    data = {"primary": keys.primary, "keys": sorted(keys.keys), "values": _as_data(usage)}
    if as_json:
        answer(data, as_json=True)
    else:
        _show(keys, usage)
    if not all(_can_be_read(use, keys) for use in usage):
        raise typer.Exit(FOUND)


@app.command()
def rotate(
    to: Annotated[
        str | None,
        typer.Option(
            help="Make this key the primary one first; every process has to know it by now.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows in one transaction.", min=1, max=10_000)] = 200,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for rows that others hold all the time.", min=0)
    ] = 30.0,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Encrypt everything anew that is not under the primary key, while the application goes on; 1 if something is left."""
    import asyncio

    from timber.cli.progress import progress

    settings = settings_of(database_url, models)
    if to is not None:
        _promote(settings, to)
    with progress("Encrypting anew", quiet=as_json) as bar:
        done, usage = asyncio.run(_rotate(settings, bar, batch, patience))
    data = {
        "primary": done.primary,
        "rows": done.rows,
        "persons": done.persons,
        "left": done.left,
        "failed": dict(done.failed),
        "complete": done.complete,
        "values": _as_data(usage),
    }
    answer(data, _lines(done), as_json=as_json)
    if not done.complete:
        raise typer.Exit(FOUND)


def _ring(settings: TimberSettings) -> Any:
    from timber.features.encryption.provider import key_ring

    if settings.encryption_keys is None:
        raise ConfigurationError(
            "Where are the keys? Set TIMBER_ENCRYPTION_KEYS to the path of a file, or to env:NAME for an environment "
            "variable."
        )
    return key_ring(settings.encryption_keys)


def _promote(settings: TimberSettings, key_id: str) -> None:
    from timber.features.encryption import FileKeyRing

    ring = _ring(settings)
    if not isinstance(ring, FileKeyRing):
        raise ConfigurationError(
            f"--to changes a key file. In {ring.variable} put {key_id!r} in the first place, and leave --to out."
        )
    ring.promote(key_id)


def _provider(settings: TimberSettings) -> EncryptionProvider:
    from timber.features.built_in import features_of
    from timber.features.encryption import EncryptionProvider

    provider = features_of(settings).provider("encryption")
    if not isinstance(provider, EncryptionProvider):
        _ring(settings)
        raise ConfigurationError(
            "The provider of encryption that the settings name is not Timber's."
        )
    return provider


async def _look(settings: TimberSettings) -> tuple[KeySet, list[KeyUse]]:
    from timber.cli.reaching import reached
    from timber.features.encryption.reporting import key_usage
    from timber.features.providers import registry_of

    provider, registry = _provider(settings), registry_of(settings)
    async with reached(settings) as db:
        try:
            await provider.start(db, registry)
            store = provider.persons.store if provider.has_persons else None
            return await provider.keys.get(), await key_usage(db, registry, store)
        finally:
            await provider.close()


async def _rotate(
    settings: TimberSettings, bar: Any, batch: int, patience: float
) -> tuple[Rotated, list[KeyUse]]:
    from timber.cli.reaching import reached
    from timber.features.encryption.reporting import key_usage
    from timber.features.encryption.rotation import Rotation
    from timber.features.providers import registry_of

    provider, registry = _provider(settings), registry_of(settings)
    async with reached(settings) as db:
        try:
            await provider.start(db, registry)
            rotation = Rotation(db, registry, provider, batch=batch, patience=patience)
            bar.expect(await rotation.to_do())
            done = await rotation.run(bar.advance)
            store = provider.persons.store if provider.has_persons else None
            return done, await key_usage(db, registry, store)
        finally:
            await provider.close()


def _as_data(usage: Iterable[KeyUse]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(use) for use in usage]


def _can_be_read(use: KeyUse, keys: KeySet) -> bool:
    from timber.features.encryption.reporting import DESTROYED, PERSONS

    return use.key_id in keys.keys or use.key_id in (PERSONS, DESTROYED)


def _show(keys: KeySet, usage: Iterable[KeyUse]) -> None:
    from timber.cli.screen import Screen

    def word(use: KeyUse) -> str:
        if use.key_id == keys.primary:
            return "primary"
        return "" if _can_be_read(use, keys) else "not in the key ring"

    rows = [
        [use.model or "Keys of persons", use.column or "", use.key_id, f"{use.count:,}", word(use)]
        for use in usage
    ]
    columns = {"Model": "left", "Column": "left", "Key": "left", "Values": "right", "": "left"}
    Screen().table(f"Primary key: {keys.primary}", columns, rows)


def _lines(done: Rotated) -> Iterable[str]:
    yield f"encrypted {done.rows:,} rows anew with the key {done.primary}"
    if done.persons:
        yield f"wrapped {done.persons:,} keys of persons anew"
    for key_id, number in sorted(done.failed.items()):
        yield f"left {number:,} that cannot be decrypted with the key {key_id}"
    if done.left:
        yield f"left {done.left:,} rows that were locked all the time: run it again"
    if not done.settled:
        yield "transactions from before are still open, and may bring up values under another key: run it again"
