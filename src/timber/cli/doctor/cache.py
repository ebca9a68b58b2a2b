"""The cache: whether it answers, and is set up to throw old copies away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from timber.cache.opening import EMBEDDED, MEMORY
from timber.cli.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from timber.settings import TimberSettings

_SECONDS: Final = 3.0
_OLDEST: Final = 7


async def cache(settings: TimberSettings) -> AsyncIterator[Finding]:
    """How the Redis or Valkey of the settings is."""
    if not settings.cache_enabled or settings.cache_url in (None, EMBEDDED, MEMORY):
        return
    client = Redis.from_url(
        settings.cache_url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
    )
    try:
        told: dict[str, Any] = await client.info()
    except (RedisError, OSError, ValueError) as error:
        yield Finding(
            "Cache",
            "problem",
            f"The server of TIMBER_CACHE_URL does not answer ({type(error).__name__}): every read goes to PostgreSQL.",
            "Start it, or mend the URL; its password and its port are the usual suspects.",
        )
        return
    finally:
        await client.aclose()
    version = str(told.get("valkey_version") or told["redis_version"])
    name = "Valkey" if "valkey_version" in told else "Redis"
    if int(version.partition(".")[0]) < _OLDEST:
        yield Finding(
            "Cache", "problem", f"{name} {version} is older than {_OLDEST}.", "Upgrade it."
        )
    elif told.get("maxmemory") and told.get("maxmemory_policy") == "noeviction":
        yield Finding(
            "Cache",
            "warning",
            f"{name} {version} refuses writes when its memory is full (maxmemory-policy noeviction).",
            "Set maxmemory-policy to allkeys-lru: all that Timber keeps there can be read again.",
        )
    else:
        yield Finding("Cache", "ok", f"{name} {version}")
