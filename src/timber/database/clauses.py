"""Looking into SQLAlchemy's statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator


def parts_of(clause: sa.ClauseElement) -> Iterator[Any]:
    """A statement and what it is made of, without the columns that its tables have and it does not name."""
    pending: list[Any] = [clause]
    while pending:
        element = pending.pop()
        yield element
        if not isinstance(element, sa.Table):
            pending += element.get_children()
