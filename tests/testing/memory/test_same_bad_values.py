"""The same tests, on rows in memory."""

from __future__ import annotations

from tests.repository.test_bad_values import *  # noqa: F403
