"""Model files written into a test's own folder."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from timber.models import ModelRegistry


def write_models(folder: Path, **files: str) -> list[Path]:
    """Files ``name.yaml`` with version 1 in front of their text."""
    paths = []
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.write_text("version: 1\n" + textwrap.dedent(text))
        paths.append(path)
    return paths


def registry_of(folder: Path, text: str, **options: Any) -> ModelRegistry:
    """A registry of the built-in models and those of one file."""
    return ModelRegistry(files=write_models(folder, models=text), **options)


def column_lines(columns: Iterable[str], *, name: str = "Thing") -> str:
    """A model of these columns, each in flow notation."""
    rows = "".join(f"      - {{{column}}}\n" for column in columns)
    return f"models:\n  - name: {name}\n    table: {name.lower()}s\n    columns:\n{rows}"
