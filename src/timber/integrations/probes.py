"""Whether the service lives, and whether it can work: what an orchestrator asks for at /livez and /readyz."""

from __future__ import annotations

import logging
from typing import ClassVar, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from timber import Timber
from timber.context import deadline
from timber.errors import ServiceError, UsageError
from timber.integrations.problems import Problem, problem_of_status

logger: logging.Logger = logging.getLogger(__name__)

LIVE: Final = b'{"status":"alive"}'
_PATIENCE = 2.0  # seconds; an orchestrator that asks every few seconds wants an answer, not a wait


class Liveness(BaseModel):
    """The process answers."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    status: Literal["alive"] = "alive"


class Checks(BaseModel):
    """What the service stands on."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    database: Literal["up", "down"]
    cache: Literal["up", "down", "off"]


class Readiness(BaseModel):
    """Whether the service can work: without its cache it is slower, without its database it is not ready."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    status: Literal["ready", "degraded"]
    checks: Checks


class _Pinged(Protocol):
    async def ping(self) -> None: ...


class _HealthChecked(Protocol):
    async def health_check(self) -> bool: ...


async def readiness(timber: Timber, instance: str) -> Readiness | Problem:
    """How ready a service is; a problem with status 503 where its database does not answer within two seconds."""
    try:
        cache = timber.cache
    except UsageError:
        cache = None  # it has none
    return await judge(timber.db, cache, instance)


async def judge(db: _Pinged, cache: _HealthChecked | None, instance: str) -> Readiness | Problem:
    """How ready a service on this database and this cache is."""
    checks = Checks(database=await _database(db), cache=await _cache(cache))
    if checks.database == "down":
        said = "The database does not answer."
        return problem_of_status(503, said, instance, more={"checks": checks.model_dump()})
    return Readiness(status="degraded" if checks.cache == "down" else "ready", checks=checks)


async def _database(db: _Pinged) -> Literal["up", "down"]:
    try:
        async with deadline(_PATIENCE):
            await db.ping()
    except ServiceError as error:
        logger.warning("The database is not ready: %s: %s", type(error).__name__, error)
        return "down"
    return "up"


async def _cache(cache: _HealthChecked | None) -> Literal["up", "down", "off"]:
    if cache is None:
        return "off"
    return "up" if await cache.health_check() else "down"
