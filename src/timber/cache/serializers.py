"""How values of a user's own cache become bytes."""

from __future__ import annotations

from typing import Any

import orjson

from timber.cache.face import BaseSerializer


class JsonBytes(BaseSerializer):
    """JSON as bytes, decoded anew for each hit, so that nobody can change a cached value."""

    DEFAULT_ENCODING = None

    def dumps(self, value: Any) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The value as JSON."""
        return orjson.dumps(value)

    def loads(self, value: bytes | str | None) -> Any:
        """A fresh value out of JSON; None for a miss."""
        return None if value is None else orjson.loads(value)
