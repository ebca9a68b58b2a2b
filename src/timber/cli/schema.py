"""``timber schema``: what editors and type checkers want to know about models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from timber.cli.answers import Json, answer
from timber.cli.options import settings_of
from timber.errors import ConfigurationError

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
    output: Output = None, python: Python = False, models: Models = None, as_json: Json = False
) -> None:
    """Write the JSON Schema of model files, for an editor's completion and checks."""
    if models and not python:
        raise ConfigurationError(
            "The JSON Schema is the same for all models: --models goes with --python."
        )
    text = _python_module(models) if python else _json_schema()
    if output is not None:
        _write(output, text)
        answer({"wrote": output}, [f"wrote {output}"], as_json=as_json)
    elif python:
        answer({"python": text}, [text.removesuffix("\n")], as_json=as_json)
    else:
        typer.echo(text, nl=False)  # JSON by itself


def _json_schema() -> str:
    from timber.models.json_schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _python_module(models: list[Path] | None) -> str:
    """The DTOs of those models that are not built in as they are."""
    from timber.features.providers import registry_of
    from timber.models.python_module import write_python_module
    from timber.models.registry import ModelRegistry

    settings = settings_of(models=models)
    registry = registry_of(settings)
    built_in = ModelRegistry(search_language=settings.search_language)
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
