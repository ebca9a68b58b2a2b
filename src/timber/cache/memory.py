"""The first level: a bounded cache in the memory of the process."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from timber.cache.face import BaseCache
from timber.cache.serializers import JsonBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MISSING: Final = object()
"""What :meth:`MemoryCache.peek` gives where there is no entry: None is a value."""

_ENTRY_BYTES = 300
"""What an entry costs beside its value: key, tuple, place in the order."""

Slot = tuple[Any, float, int, tuple[str, ...]]


class MemoryCache(BaseCache):
    """An LRU bounded by entries and by bytes, whose entries expire.

    For users it wears aiocache's face and keeps JSON; :meth:`peek`, :meth:`keep` and :meth:`drop` are what lies below.

    Args:
        max_entries: above it the longest unused entry goes.
        max_bytes: likewise; keys and values are counted, an entry above a tenth of it is not kept.
        jitter: the share of its time to live by which an entry may expire earlier, so that not all of them do at once.
        clock: gives monotonic seconds.
    """

    NAME = "memory"

    def __init__(
        self,
        serializer: Any = None,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        jitter: float = 0.1,
        clock: Callable[[], float] = monotonic,
        **options: Any,
    ) -> None:
        options.setdefault("timeout", 0)
        super().__init__(serializer=serializer or JsonBytes(), **options)
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes: int = 0
        self.evictions: int = 0
        self._jitter = jitter
        self._clock = clock
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._tagged: dict[str, set[str]] = {}

    @classmethod
    def parse_uri_path(cls, path: str) -> dict[str, str]:  # noqa: ARG003
        """No part of ``memory://`` is an option."""
        return {}

    # Below the face

    def peek(self, key: str) -> Any:
        """The value as it was kept, or ``MISSING``; makes it the latest used."""
        slot = self._slots.get(key)
        if slot is None:
            return MISSING
        if slot[1] <= self._clock():
            self.drop(key)
            return MISSING
        self._slots.move_to_end(key)
        return slot[0]

    def keep(
        self, key: str, value: Any, size: int, ttl: float | None, tags: Sequence[str] = ()
    ) -> bool:
        """Keep a value that nobody will change; False if it is too large.

        Args:
            size: the bytes of the value.
            ttl: seconds; None for as long as there is room.
            tags: names that :meth:`drop_tagged` finds it by.
        """
        self.drop(key)
        size += _ENTRY_BYTES + len(key)
        if size > self.max_bytes // 10:
            return False
        expiry = (
            float("inf")
            if ttl is None
            else self._clock() + ttl * (1.0 - self._jitter * random.random())  # noqa: S311
        )
        self._slots[key] = (value, expiry, size, tuple(tags))
        self.bytes += size
        for tag in tags:
            self._tagged.setdefault(tag, set()).add(key)
        while self.bytes > self.max_bytes or len(self._slots) > self.max_entries:
            self.drop(next(iter(self._slots)))
            self.evictions += 1
        return True

    def drop(self, key: str) -> bool:
        """Forget an entry; whether there was one."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return False
        self.bytes -= slot[2]
        for tag in slot[3]:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]
        return True

    def drop_tagged(self, names: Iterable[str]) -> int:
        """Forget the entries with these keys or tags; how many there were."""
        dropped = 0
        for name in names:
            dropped += self.drop(name)
            for key in tuple(self._tagged.get(name, ())):
                dropped += self.drop(key)
        return dropped

    def holding(self, chosen: Callable[[Any], bool]) -> list[str]:
        """The keys of the entries whose values are chosen."""
        return [key for key, slot in self._slots.items() if chosen(slot[0])]

    def wipe(self) -> int:
        """Forget everything; how many entries there were."""
        count = len(self._slots)
        self._slots.clear()
        self._tagged.clear()
        self.bytes = 0
        return count

    def bytes_by_first_tag(self) -> dict[str, int]:
        """What the entries take that have tags, by the first of them; looks at every entry."""
        taken: dict[str, int] = {}
        for _, _, size, tags in self._slots.values():
            if tags:
                taken[tags[0]] = taken.get(tags[0], 0) + size
        return taken

    def __len__(self) -> int:
        return len(self._slots)

    def __bool__(self) -> bool:
        return True

    # aiocache's face

    async def _get(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:  # noqa: ARG002
        found = self.peek(key)
        return None if found is MISSING else found

    async def _gets(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:
        return await self._get(key, encoding, _conn)

    async def _multi_get(
        self, keys: Iterable[str], encoding: str | None = None, _conn: Any = None
    ) -> list[Any]:
        return [await self._get(key, encoding, _conn) for key in keys]

    async def _set(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: Any = None,
    ) -> bool | int:
        if _cas_token is not None and _cas_token != await self._get(key):
            return 0
        return self.keep(key, value, _size(value), ttl or None)

    async def _multi_set(
        self, pairs: Iterable[tuple[str, Any]], ttl: float | None = None, _conn: Any = None
    ) -> bool:
        for key, value in pairs:
            await self._set(key, value, ttl)
        return True

    async def _add(self, key: str, value: Any, ttl: float | None = None, _conn: Any = None) -> bool:
        if self.peek(key) is not MISSING:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        await self._set(key, value, ttl)
        return True

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return self.peek(key) is not MISSING

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> int:
        found = self.peek(key)
        slot = self._slots.get(key)
        try:
            number = (0 if found is MISSING else int(found)) + delta
        except (TypeError, ValueError):
            raise TypeError("Value is not an integer") from None
        value = str(number).encode() if isinstance(self.serializer, JsonBytes) else number
        remaining = None if slot is None else slot[1]
        self.keep(key, value, _size(value), None)
        if remaining is not None:
            self._expire_at(key, remaining)
        return number

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        if self.peek(key) is MISSING:
            return False
        self._expire_at(key, self._clock() + ttl if ttl else float("inf"))
        return True

    def _expire_at(self, key: str, expiry: float) -> None:
        value, _, size, tags = self._slots[key]
        self._slots[key] = (value, expiry, size, tags)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        return int(self.drop(key))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        if namespace is None:
            namespace = self.namespace
        if namespace:
            for key in [key for key in self._slots if key.startswith(namespace)]:
                self.drop(key)
        else:
            self.wipe()
        return True

    async def _raw(
        self,
        command: str,
        *args: Any,
        encoding: str | None = None,  # noqa: ARG002
        _conn: Any = None,
        **kwargs: Any,
    ) -> Any:
        # What is here to be called below the face is synchronous.
        return getattr(self, command)(*args, **kwargs)

    async def _redlock_release(self, key: str, value: Any) -> int:
        if self.peek(key) == value:
            return int(self.drop(key))
        return 0


def _size(value: Any) -> int:
    return len(value) if isinstance(value, bytes | str) else sys.getsizeof(value)
