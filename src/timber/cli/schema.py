"""``timber schema``: what editors and type checkers want to know about models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timber.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from timber.settings import SettingsKeywords

Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="A file to write, instead of the terminal.", show_default=False
    ),
]
Python = Annotated[
    bool, typer.Option("--python", help="Write the DTOs of the models as a Python module instead.")
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        help="With --python: a folder with YAML models, instead of TIMBER_MODEL_CONFIG_DIRS; "
        "may be given again.",
        show_default=False,
    ),
]


def schema(
    output: Output = None,
    python: Python = False,  # noqa: FBT002  # an option by name
    models: Models = None,
) -> None:
    """Write the JSON Schema of model files, for an editor's completion and checks."""
    try:
        if models and not python:
            raise ConfigurationError(
                "The JSON Schema is the same for all models: --models goes with --python."
            )
        text = _python_module(models) if python else _json_schema()
        if output is None:
            typer.echo(text, nl=False)
        else:
            _write(output, text)
            typer.echo(f"wrote {output}")
    except ServiceError as error:
        typer.echo(f"timber: {error}", err=True)
        raise typer.Exit(2) from error


def _json_schema() -> str:
    from timber.models.json_schema import json_schema  # noqa: PLC0415  # --help does without

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _python_module(models: list[Path] | None) -> str:
    """The DTOs of those models that are not built in as they are."""
    from timber.models.python_module import write_python_module  # noqa: PLC0415  # as above
    from timber.models.registry import ModelRegistry  # noqa: PLC0415
    from timber.settings import make_settings  # noqa: PLC0415

    keywords: SettingsKeywords = {"model_config_dirs": tuple(models)} if models else {}
    settings = make_settings(None, None, keywords)
    language = settings.search_language
    registry = ModelRegistry(dirs=settings.model_config_dirs, search_language=language)
    built_in = ModelRegistry(search_language=language)
    known = built_in.list_models()
    names = [
        name
        for name in registry.list_models()
        if name not in known or registry.model_config(name) != built_in.model_config(name)
    ]
    if not names:
        raise ConfigurationError(
            "There are no models to write: name their folder by --models or TIMBER_MODEL_CONFIG_DIRS."
        )
    return write_python_module(registry, names)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}.") from error
