"""What a step of the demo found, held against what it should have."""

from __future__ import annotations


class CheckFailedError(Exception):
    """A step did not find what it should."""


def check(found: object, expected: object, what: str) -> None:
    """Compare what a step found with what it should have.

    Raises:
        CheckFailedError: they differ.
    """
    if found != expected:
        raise CheckFailedError(f"{what}: expected {expected!r}, found {found!r}.")
