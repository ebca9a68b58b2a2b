"""aiocache's base classes, which are published without types: what type checkers are to take them for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class BaseCache:
        """A cache as aiocache's users know it."""

        serializer: Any
        ttl: Any

        def __init__(self, **options: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    class AiocacheRedis(BaseCache):
        """aiocache's own cache on Redis."""

        client: Any

    class BaseSerializer:
        """How aiocache writes values."""

        def __init__(self, **options: Any) -> None: ...

else:
    from aiocache.backends.redis import RedisCache as AiocacheRedis
    from aiocache.base import BaseCache
    from aiocache.serializers import BaseSerializer

__all__ = ["AiocacheRedis", "BaseCache", "BaseSerializer"]
