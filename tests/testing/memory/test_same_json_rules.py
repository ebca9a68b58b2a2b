"""The same tests, on rows in memory."""

from __future__ import annotations

from tests.repository.test_json_rules import *  # noqa: F403
