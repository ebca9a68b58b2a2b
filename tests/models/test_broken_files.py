"""Each file in ``broken/`` begins with the errors it must be refused with: ``#! line:column: message``."""

from __future__ import annotations

from pathlib import Path

import pytest

from timber.errors import ConfigurationError
from timber.models import ModelRegistry

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))


def expected_errors(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.removeprefix("#! ") for line in lines if line.startswith("#! ")]


def test_there_are_more_than_sixty_of_them() -> None:
    assert len(BROKEN) > 60


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_is_refused_at_its_line_and_column(path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(files=[path])
    errors = caught.value.errors or [caught.value]
    assert [str(error).removeprefix(f"{path}:") for error in errors] == expected_errors(path)
    assert all(error.file == str(path) and error.line and error.column for error in errors)
    assert caught.value.line == errors[0].line


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_nothing_of_a_broken_file_stays_behind(path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ModelRegistry(files=[path])
    assert "Invoice" not in ModelRegistry().list_models()
