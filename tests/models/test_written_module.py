from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from tests.models.every_type import MODEL
from tests.models.projects import registry_of
from tests.models.test_dtos import INVOICE
from timber.errors import ConfigurationError
from timber.models import ModelRegistry, write_python_module

TYPED = Path(__file__).parent.parent / "typing" / "written_dtos.py"

DEFAULTS = """
  - name: Given
    table: givens
    columns:
      - {name: text, type: Text, default: 'it''s "quoted" \\ {braces}'}
      - {name: amount, type: "Numeric(6, 2)", default: 1.50}
      - {name: ratio, type: Float, default: 1e400}
      - {name: day, type: Date, default: 2024-02-29}
      - {name: hour, type: Time, default: 12:30:00.5}
      - {name: moment, type: DateTime, default: 2024-01-01T00:00:00+02:00}
      - {name: span, type: Interval, default: P1DT2H}
      - {name: key, type: UUID, default: 12345678-1234-5678-1234-567812345678}
      - {name: raw, type: Binary, default: aGk=}
      - {name: words, type: "Array[Text]", default: [a, b]}
      - {name: settings, type: JSONB, default: {on: true, list: [1, null, {deep: x}]}}
      - {name: date, type: Date, default: now-is-not-a-date}
"""


def imported(source: str, folder: Path, name: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    things = MODEL.removeprefix("models:\n")
    given = DEFAULTS.replace("\n      - {name: date, type: Date, default: now-is-not-a-date}", "")
    return registry_of(tmp_path, INVOICE + things + given)


@pytest.fixture
def module(registry: ModelRegistry, tmp_path: Path) -> Iterator[ModuleType]:
    name = f"written_{tmp_path.name}"
    yield imported(write_python_module(registry), tmp_path, name)
    del sys.modules[name]


def schema(dto: type[BaseModel]) -> object:
    return json.loads(json.dumps(dto.model_json_schema()))


def test_it_has_the_dtos_of_every_model_as_they_are_generated(
    registry: ModelRegistry, module: ModuleType
) -> None:
    for name in registry.list_models():
        for kind in ("create", "update", "read"):
            generated = getattr(registry, f"{kind}_dto")(name)
            written = getattr(module, generated.__name__)
            assert schema(written) == schema(generated)
            assert list(written.model_fields) == list(generated.model_fields)
            assert written.__doc__ == generated.__doc__


def test_its_defaults_are_the_models(registry: ModelRegistry, module: ModuleType) -> None:
    assert module.GivenCreate().model_dump() == registry.create_dto("Given")().model_dump()


def test_it_fits_the_models_it_was_written_from(
    registry: ModelRegistry, module: ModuleType
) -> None:
    registry.check_module(module)


def test_it_is_refused_when_a_model_has_changed(module: ModuleType, tmp_path: Path) -> None:
    things = MODEL.removeprefix("models:\n")
    changed = registry_of(tmp_path, INVOICE.replace("Integer", "BigInteger") + things)
    with pytest.raises(ConfigurationError) as caught:
        changed.check_module(module)
    report = str(caught.value)
    for kind in ("Create", "Update", "Read"):
        assert f"Invoice{kind} was written when Invoice had other columns" in report
    assert "no model 'Given'" in report
    assert "Session" not in report


def test_only_the_models_asked_for_are_written(registry: ModelRegistry) -> None:
    source = write_python_module(registry, ["Invoice"])
    assert "class InvoiceRead(DTO):" in source
    assert "Session" not in source


def test_the_same_models_are_written_the_same(registry: ModelRegistry) -> None:
    assert write_python_module(registry) == write_python_module(registry)


def test_the_module_that_type_checkers_are_tried_on_is_up_to_date() -> None:
    assert TYPED.read_text() == write_python_module(ModelRegistry(), ["Notification", "Session"])
