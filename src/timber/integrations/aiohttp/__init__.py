"""Timber in aiohttp: ``setup(app, timber)``, then ``timber_of(request)`` in handlers."""

from __future__ import annotations

from timber.integrations.actors import Header, State, require_actor
from timber.integrations.aiohttp.crud import crud_routes
from timber.integrations.aiohttp.requests import (
    TIMBER,
    read_body,
    read_path,
    read_query,
    timber_of,
)
from timber.integrations.aiohttp.responses import json_response
from timber.integrations.aiohttp.setting_up import setup
from timber.integrations.aiohttp.streaming import event_stream, json_lines
from timber.integrations.deadlines import Deadlines
from timber.integrations.problems import Problem, UnauthenticatedError

__all__ = [
    "TIMBER",
    "Deadlines",
    "Header",
    "Problem",
    "State",
    "UnauthenticatedError",
    "crud_routes",
    "event_stream",
    "json_lines",
    "json_response",
    "read_body",
    "read_path",
    "read_query",
    "require_actor",
    "setup",
    "timber_of",
]
