"""The plans of slow statements, looked up beside the work that was slow."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from timber.database.errors import FOREIGN
from timber.database.plans import generic_plan
from timber.errors import ServiceError

if TYPE_CHECKING:
    from timber.database.core import Core

logger: logging.Logger = logging.getLogger("timber.sql")

_AGAIN: Final = 600.0
"""Seconds before the plan of the same text is logged again."""
_TEXTS: Final = 200


class SlowPlans:
    """Logs the plan of each slow text, with parameters and not with their values: what PostgreSQL would do for any of them.

    One at a time, so that a server that is slow already is not asked for many.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._logged: dict[str, float] = {}
        self._is_busy = False

    def note(self, label: str, sql: str) -> None:
        """Have the plan of a slow statement logged, unless it has been of late."""
        now = time.monotonic()
        if self._is_busy or now - self._logged.get(sql, -_AGAIN) < _AGAIN:
            return
        if len(self._logged) >= _TEXTS:
            self._logged.clear()
        self._logged[sql] = now
        self._is_busy = True
        self._core.spawn(self._log(label, sql))

    async def _log(self, label: str, sql: str) -> None:
        try:
            link = await self._core.connections.acquire()
            try:
                plan = await generic_plan(link.driver, sql)
            finally:
                self._core.connections.release(link)
        except (*FOREIGN, ServiceError) as error:
            logger.info("There is no plan of %s to be had (%s).", label, type(error).__name__)
        else:
            logger.warning("Plan of the slow query %s:\n%s", label, plan)
        finally:
            self._is_busy = False
