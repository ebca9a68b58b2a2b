"""Rows to DTOs and back: the verbs of one model."""

from __future__ import annotations

from timber.repository.conditions import Condition
from timber.repository.repository import Repository
from timber.repository.where import Field, Where

__all__ = ["Condition", "Field", "Repository", "Where"]
