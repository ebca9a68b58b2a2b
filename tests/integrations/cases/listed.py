"""The list of cases: what an application with Timber answers over HTTP, whichever framework it is made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.harness.serving import Client

Case = Callable[[Client], Awaitable[None]]

CASES: list[Case] = []


def case(test: Case) -> Case:
    """Put a case on the list."""
    CASES.append(test)
    return test
