"""`timber init` writes a service that is as it should be from its first day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from tests.harness.databases import Databases, connected, run_apart
from timber.cli.beginning import Framework, write_service
from timber.cli.commands import app
from timber.errors import ConfigurationError
from timber.models.registry import ModelRegistry

each_framework = pytest.mark.parametrize("framework", Framework)


def run(folder: Path, *command: str, **environment: str) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TIMBER_"))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        check=False,
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder() -> Generator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@each_framework
def test_what_it_writes_is_complete_and_keeps_its_own_style(
    folder: Path, framework: Framework
) -> None:
    written = write_service(folder, "corner-shop", framework)
    service = folder / "corner-shop"
    assert service / "corner_shop" / "app.py" in written
    assert all("$" not in path.read_text() for path in written)
    assert ModelRegistry(dirs=[service / "corner_shop" / "models"]).get_model("Note")
    project = tomllib.loads((service / "pyproject.toml").read_text())["project"]
    assert f"timber-async[{framework.value}]" in project["dependencies"]
    run(service, "ruff", "check", ".", "--no-cache")
    run(service, "ruff", "format", "--check", ".", "--no-cache")


@pytest.mark.slow
@pytest.mark.timeout(180)
@each_framework
def test_it_passes_its_own_tests_and_strict_types(
    folder: Path, framework: Framework, test_databases: Databases
) -> None:
    write_service(folder, "shop", framework)
    run(folder / "shop", "mypy", "shop", "tests")
    url = test_databases.server_url
    run(folder / "shop", "pytest", "-p", "no:randomly", "-q", TIMBER_TEST_DATABASE_URL=url)


def test_production_has_the_tables_of_its_models(folder: Path, bare_database_url: str) -> None:
    write_service(folder, "shop", Framework.fastapi)
    example = (folder / "shop" / ".env.example").read_text()
    settings = dict(line.split("=", 1) for line in example.splitlines() if "=" in line)
    assert (
        f"TIMBER_MODEL_CONFIG_DIRS={settings['TIMBER_MODEL_CONFIG_DIRS']}"
        in (folder / "shop" / "README.md").read_text()
    )
    settings["TIMBER_DATABASE_URL"] = bare_database_url
    for command in ("migrate init", "migrate new -m first", "migrate up", "migrate check"):
        run(folder / "shop", "timber", *command.split(), **settings)
    run_apart(has_notes(bare_database_url))


async def has_notes(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute("SELECT title FROM notes")


def test_it_says_what_it_has_written_and_what_comes_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["init", "shop", "--json"])
    answer = json.loads(result.stdout)
    assert all(Path(path).exists() for path in answer["wrote"])
    assert answer["next"] == ["cd shop", "timber dev"]
    again = CliRunner().invoke(app, ["init", "shop"])
    assert again.exit_code == 2
    assert "not empty" in again.stderr


@pytest.mark.parametrize("name", ["Shop", "1shop", "shop.py", "../shop", "timber", "a--b", ""])
def test_names_that_cannot_be_those_of_a_package_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a service"):
        write_service(folder, name, Framework.fastapi)
    assert not list(folder.iterdir())
