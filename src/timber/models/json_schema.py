"""The JSON Schema of model files, for the completion and checks of editors."""

from __future__ import annotations

from typing import Any

from timber.models.config import ModelFile


def json_schema() -> dict[str, Any]:
    """The schema of a model file, version 1."""
    schema = ModelFile.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Timber models",
        **{key: value for key, value in schema.items() if key != "title"},
    }
