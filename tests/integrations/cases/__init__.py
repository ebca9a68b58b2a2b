"""One list of cases for both frameworks; importing this fills it."""

from __future__ import annotations

from tests.integrations.cases import changing, errors, listing, rows, streams, work
from tests.integrations.cases.listed import CASES, Case

__all__ = ["CASES", "Case", "changing", "errors", "listing", "rows", "streams", "work"]
