"""From a URL to a cache: clients that give up in time and repeat nothing behind the protocol's back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from timber.cache.coherence.breaker import Breaker
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.owing import StoredOwedRows
from timber.cache.coherence.redis_store import RedisStore
from timber.cache.keys import Keyspace
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from timber.cache.memory import MemoryCache
    from timber.database.manager import AsyncDatabaseManager

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0


def redis_client(url: str) -> Redis:
    """A client for the cache: bytes as answers, every wait bounded, no command repeated.

    Raises:
        ConfigurationError: the URL is not one of Redis.
    """
    try:
        return Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            decode_responses=False,
            protocol=2,
        )
    except ValueError:
        raise ConfigurationError(
            "cache_url is not the URL of a Redis: write it like redis://host:6379/0."
        ) from None


def coherent_cache(
    url: str | None,
    db: AsyncDatabaseManager | None,
    *,
    prefix: str = "timber",
    memory: MemoryCache | None = None,
    in_transaction: Callable[[], bool] = lambda: False,
    is_sole_writer: bool = False,
) -> CoherentCache:
    """A cache that is not started yet.

    Args:
        url: of Redis or Valkey; None for the process's memory alone.
        db: where the owed rows are.
        prefix: what every key in Redis begins with: one for each database.
    """
    if url is None:
        return CoherentCache(
            memory=memory, in_transaction=in_transaction, is_sole_writer=is_sole_writer
        )
    space = Keyspace(prefix)
    return CoherentCache(
        memory=memory,
        store=RedisStore(redis_client(url), space, Breaker()),
        client=redis_client(url),
        channel=space.channel,
        owed=None if db is None else StoredOwedRows(db),
        in_transaction=in_transaction,
    )
