"""The same tests, on rows in memory."""

from __future__ import annotations

from tests.repository.test_writing import *  # noqa: F403
