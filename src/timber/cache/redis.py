"""The second level as a user's own cache: aiocache's face on a Redis client that is handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from redis.exceptions import ResponseError

from timber.cache.face import AiocacheRedis, BaseCache
from timber.cache.serializers import JsonBytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

_SCAN_COUNT = 500


class RedisCache(AiocacheRedis):
    """A cache in Redis or Valkey.

    Args:
        client: a ``redis.asyncio`` client that does not decode its answers; its timeouts are its own, so that no call
            here needs a task to watch it. Closing this cache closes it only if it is ``owned``.
        namespace: put before every key; ``clear()`` touches only the keys that begin with it.
        ttl: seconds an entry lives where a call says nothing.
    """

    def __init__(
        self,
        client: Redis,
        serializer: Any = None,
        *,
        namespace: str = "timber:user",
        ttl: float | None = None,
        owned: bool = False,
        **options: Any,
    ) -> None:
        options.setdefault("timeout", 0)
        # Not the parent's own __init__: it would make a second pool.
        BaseCache.__init__(
            self, serializer=serializer or JsonBytes(), namespace=namespace, ttl=ttl, **options
        )
        self.client = client
        self._owned = owned

    async def _set(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: Any = None,
    ) -> Any:
        if _cas_token is not None:
            milliseconds = None if not ttl else float(ttl)
            return await self._cas(key, value, _cas_token, ttl=milliseconds, _conn=_conn)
        return await self.client.set(key, value, px=_milliseconds(ttl))

    async def _multi_set(
        self, pairs: Iterable[tuple[str, Any]], ttl: float | None = None, _conn: Any = None
    ) -> Literal[True]:
        async with self.client.pipeline(transaction=True) as pipe:
            for key, value in pairs:
                pipe.set(key, value, px=_milliseconds(ttl))
            await pipe.execute()
        return True

    async def _multi_get(
        self, keys: Iterable[str], encoding: str | None = None, _conn: Any = None
    ) -> list[Any]:
        keys = list(keys)
        values: list[Any] = await self.client.mget(keys) if keys else []
        return [v.decode(encoding) if v is not None and encoding else v for v in values]

    async def _add(
        self, key: str, value: Any, ttl: float | None = None, _conn: Any = None
    ) -> Literal[True]:
        if not await self.client.set(key, value, nx=True, px=_milliseconds(ttl)):
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return True

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> int:
        try:
            number: int = await self.client.incrby(key, delta)
        except ResponseError:
            raise TypeError("Value is not an integer") from None
        return number

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        if not ttl:
            return bool(await self.client.persist(key))
        return bool(await self.client.pexpire(key, _milliseconds(ttl) or 1))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> Literal[True]:
        # Never FLUSHDB: other things live in the same database.
        namespace = self.namespace if namespace is None else namespace
        pattern = f"{_escape(namespace)}:*" if namespace else "*"
        batch: list[bytes] = []
        async for key in self.client.scan_iter(match=pattern, count=_SCAN_COUNT):
            batch.append(key)
            if len(batch) >= _SCAN_COUNT:
                await self.client.unlink(*batch)
                batch.clear()
        if batch:
            await self.client.unlink(*batch)
        return True

    async def _close(self, *_args: Any, _conn: Any = None, **_options: Any) -> None:
        if self._owned:
            await self.client.aclose()

    def __repr__(self) -> str:
        return f"<RedisCache {self.namespace}>"


def _milliseconds(ttl: float | None) -> int | None:
    return max(1, int(ttl * 1000)) if ttl else None


def _escape(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in text)
