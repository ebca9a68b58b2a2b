"""`timber schema` as a person types it, and what becomes of what it writes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timber.cli.commands import app
from timber.cli.demo_stocks import MODELS
from timber.errors import ConfigurationError
from timber.models import ModelRegistry, json_schema, write_python_module
from timber.models.dto_check import check_dto

INVOICES = """
version: 1
models:
  - name: Invoice
    table: invoices
    columns:
      - {name: number, type: String(20), nullable: false}
"""
BASKETS = """
version: 1
models:
  - extends: Session
    columns:
      - {name: basket, type: JSONB, nullable: false, default: {}}
"""


def schema(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["schema", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder of models, in an environment that names neither models nor a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIMBER_DATABASE_URL", raising=False)
    monkeypatch.delenv("TIMBER_MODEL_CONFIG_DIRS", raising=False)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "invoices.yaml").write_text(INVOICES)
    return tmp_path


def test_without_options_it_prints_the_json_schema(here: Path) -> None:
    assert json.loads(schema()) == json_schema()


def test_a_file_gets_what_would_have_been_printed(here: Path) -> None:
    assert schema("--output", "timber.json") == "wrote timber.json\n"
    assert (here / "timber.json").read_text() == schema()
    assert schema("--python", "--models", "models", "-o", "rows.py") == "wrote rows.py\n"
    assert (here / "rows.py").read_text() == schema("--python", "--models", "models")


def test_the_module_has_ones_own_models_and_not_the_built_in_ones(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ModelRegistry(dirs=["models"])
    assert schema("--python", "--models", "models") == write_python_module(registry, ["Invoice"])
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", f"models,{MODELS}")
    both = schema("--python")
    assert "class InvoiceRead(DTO)" in both
    assert "class StockPriceRead(DTO)" in both
    assert "SessionRead" not in both


def test_a_built_in_model_that_has_been_extended_is_written(here: Path) -> None:
    (here / "models" / "baskets.yaml").write_text(BASKETS)
    source = schema("--python", "--models", "models")
    assert "class SessionRead(DTO)" in source
    assert "basket: " in source
    assert "ResearchData" not in source


def test_the_module_is_held_against_the_models_it_was_written_for(here: Path) -> None:
    schema("--python", "--models", "models", "-o", "rows.py")
    written = runpy.run_path("rows.py")["InvoiceRead"]
    check_dto(ModelRegistry(dirs=["models"]).model_config("Invoice"), written)
    model = here / "models" / "invoices.yaml"
    model.write_text(INVOICES.replace("String(20)", "String(30)"))
    changed = ModelRegistry(dirs=["models"]).model_config("Invoice")
    with pytest.raises(ConfigurationError, match="schema --python"):
        check_dto(changed, written)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--models", "models"), "--models goes with --python"),
        (("--python",), "There are no models to write"),
        (("--python", "--models", "elsewhere"), "there is no such folder of models"),
        (("--python", "--models", "broken"), "colums"),
        (("--output", "nowhere/timber.json"), "Cannot write nowhere/timber.json: No such file"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_2(
    here: Path, arguments: tuple[str, ...], said: str
) -> None:
    (here / "broken").mkdir()
    (here / "broken" / "x.yaml").write_text(INVOICES.replace("columns", "colums"))
    output = schema(*arguments, code=2)
    assert output.startswith("timber: ")
    assert said in output
    assert not (here / "nowhere").exists()
