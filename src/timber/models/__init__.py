"""What a row looks like: models from YAML or Python, their tables, mapped classes and DTOs."""

from __future__ import annotations

from timber.models.config import ModelConfig
from timber.models.dto_check import check_dto
from timber.models.json_schema import json_schema
from timber.models.mixins import Mixin
from timber.models.python_module import write_python_module
from timber.models.registry import ModelRegistry

__all__ = [
    "Mixin",
    "ModelConfig",
    "ModelRegistry",
    "check_dto",
    "json_schema",
    "write_python_module",
]
