"""What the handlers of the FastAPI service ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from research_api.desk import Desk
from timber.integrations.fastapi import TimberDep


async def _desk(timber: TimberDep) -> Desk:
    return Desk(timber)


DeskDep = Annotated[Desk, Depends(_desk)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=1000)]
