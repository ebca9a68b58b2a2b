"""``timber init``: a service that runs, with its tests."""

from __future__ import annotations

import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Final

import typer

from timber.cli.answers import Json, answer
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable


class Framework(StrEnum):
    """What the service answers HTTP with."""

    fastapi = "fastapi"
    aiohttp = "aiohttp"


Name = Annotated[
    str, typer.Argument(help="What the service is called, and its folder.", show_default=False)
]
Using = Annotated[Framework, typer.Option(help="What it answers HTTP with.")]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_TAKEN: Final = frozenset({"timber", "tests", "test", "models", "fastapi", "aiohttp"})
_DEPENDENCIES: Final = {
    Framework.fastapi: ("timber-async[fastapi]", "uvicorn>=0.34"),
    Framework.aiohttp: ("timber-async[aiohttp]",),
}
_DEVELOPMENT: Final = ("mypy>=1.18", "ruff>=0.14", "timber-async[quickstart,testing]")
_FOR_TESTS: Final[dict[Framework, tuple[str, ...]]] = {
    Framework.fastapi: ("httpx2>=2.0",),
    Framework.aiohttp: (),
}
_PRODUCTION: Final = {
    Framework.fastapi: "uvicorn --factory {package}.app:create_app",
    Framework.aiohttp: "python -c 'from aiohttp.web import run_app; from {package}.app import create_app; "
    "run_app(create_app())'",
}


def init(name: Name, framework: Using = Framework.fastapi, as_json: Json = False) -> None:
    """Write a service that runs, with models, settings, tests and a README."""
    written = write_service(Path(), name, framework)
    steps = [f"cd {name}", "timber dev"]
    lines = [f"wrote {path}" for path in written]
    lines += ["", "It runs with", "", *(f"    {step}" for step in steps)]
    answer({"wrote": written, "next": steps}, lines, as_json=as_json)


def write_service(directory: Path, name: str, framework: Framework) -> list[Path]:
    """Write the files of a service into a new folder of ``directory``.

    Raises:
        ConfigurationError: the name cannot be one of a package, or the folder is not empty.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a service: use small letters, digits and hyphens, beginning with a letter, and "
            f"none of {', '.join(sorted(_TAKEN))}."
        )
    folder = directory / name
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(
            f"{folder} is there already, and is not empty: choose another name."
        )
    package = name.replace("-", "_")
    development: list[str] = sorted((*_DEVELOPMENT, *_FOR_TESTS[framework]))
    values = {
        "name": name,
        "package": package,
        "dependencies": _listed(_DEPENDENCIES[framework]),
        "development": _listed(development),
        "production": _PRODUCTION[framework].format(package=package),
    }
    written = []
    for template in _templates(framework):
        path = folder / _place(template.name, package)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(template.read_text("utf-8")).substitute(values), "utf-8")
        written.append(path)
    return sorted(written)


def _templates(framework: Framework) -> list[Traversable]:
    root = files("timber.cli").joinpath("templates")
    return [
        template
        for part in ("common", framework.value)
        for template in root.joinpath(part).iterdir()
        if template.name.endswith(".template")
    ]


def _place(template: str, package: str) -> Path:
    """Where a template's file goes: ``package.models.notes.yaml`` is below the package."""
    name = template.removesuffix(".template")
    if name in ("gitignore", "env.example"):
        return Path(f".{name}")
    first, _, rest = name.partition(".")
    if first == "tests":
        return Path("tests", rest)
    if first != "package":
        return Path(name)
    folder, _, below = rest.partition("models.")
    return Path(package, "models", below) if below and not folder else Path(package, rest)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
