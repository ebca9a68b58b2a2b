"""What clients send and are answered, beside the DTOs of the domains."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints

from timber import DTO, InputDTO, ResearchDTO, SessionDTO

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9.]{0,9}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class NewAnalysis(InputDTO):
    """A question about a share."""

    symbol: Symbol
    question: Line
    watch_above: float | None = Field(
        default=None, gt=0, strict=True, description="Track its price up to this."
    )


class NewFinding(InputDTO):
    """Something that was found."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,29}$")]
    content: dict[str, JsonValue]
    title: Line | None = None


class Conclusion(InputDTO):
    """What follows from what was found."""

    verdict: Line


class NewCheck(InputDTO):
    """A price that was looked at."""

    price: float = Field(gt=0, strict=True)


class Analysis(DTO):
    """A session with everything that was found in it."""

    session: SessionDTO
    findings: list[ResearchDTO]


class Unread(DTO):
    """How many messages have not been read."""

    unread: int


Status = Literal["active", "paused", "completed", "failed"]
CHECK_INTERVAL = timedelta(minutes=5)
Ratios = dict[str, Any]
