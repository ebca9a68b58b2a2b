"""Commands that happen once, however often they are sent: the key, the request and the result commit with their work.

The key's row is inserted first, so that of two at once the second waits at it, and what waits has the deadline and the
timeouts of any statement. A repeat finds the row and is given what the first one was.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextvars import Context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import orjson
import pydantic
import pydantic_core

from timber.database.statements import Statement
from timber.errors import ConflictError, ServiceError, UsageError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from timber.database.levels import Isolation
    from timber.database.manager import AsyncDatabaseManager
    from timber.database.outcome import Check, Fetch, Verdict
    from timber.database.unit_of_work import UnitOfWork

logger: logging.Logger = logging.getLogger(__name__)

_LONGEST_KEY: Final = 255
_PURGE_EVERY: Final = 60.0
_PURGE_BATCH: Final = 1000

_CLAIM = Statement(
    "INSERT INTO timber_idempotency AS stored (key, request, attempt, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (key) DO UPDATE SET request = excluded.request, result = NULL, attempt = excluded.attempt,"
    " created_at = excluded.created_at, expires_at = excluded.expires_at"
    " WHERE stored.expires_at <= excluded.created_at RETURNING stored.key",
    label="claim key",
    returning=True,
)
_FIND = Statement("SELECT request, result FROM timber_idempotency WHERE key = $1", label="find key")
_KEEP = Statement("UPDATE timber_idempotency SET result = $2 WHERE key = $1", label="keep result")
_LOOK = Statement("SELECT attempt FROM timber_idempotency WHERE key = $1", label="look for key")
_PURGE = Statement(
    "DELETE FROM timber_idempotency WHERE key IN (SELECT key FROM timber_idempotency WHERE expires_at <= $1"
    " ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    label="purge keys",
)


class IdempotentCommands:
    """Runs commands under keys, on the tables of one database."""

    def __init__(self, db: AsyncDatabaseManager) -> None:
        self._db = db
        self._purged_at: float | None = None
        self._purging: asyncio.Task[None] | None = None

    async def run(
        self,
        key: str,
        body: Callable[[UnitOfWork], Awaitable[Any]],
        *,
        request: object = None,
        result: Any = None,
        expires: timedelta | None = None,
        isolation: Isolation | None = None,
    ) -> Any:
        """What ``body`` returns, or has returned under this key before; see :meth:`timber.Timber.idempotent`."""
        _check_key(key)
        digest = _digest(request)
        form = _Form(result)
        lasts = (
            timedelta(seconds=self._db.settings.idempotency_seconds) if expires is None else expires
        )
        if lasts <= timedelta(0):
            raise ValidationError.of("expires", "it has to be in the future")

        async def attempt(unit: UnitOfWork) -> Any:
            now, token = self._db.clock(), uuid4()
            claim = (key, digest, token, now, now + lasts)
            if not await self._db.write(_CLAIM, claim, check=_by_attempt(key, token)):
                return form.decode(await self._first(key, digest))
            text = form.encode(await body(unit))
            await self._db.execute(_KEEP, (key, text))
            return form.decode(text)

        if self._db.current() is None:
            # Its key sees to it that it happens once, also when what became of an attempt is not known.
            answer = await self._db.run(attempt, isolation=isolation, safe=True)
        elif isolation is not None:
            raise UsageError("Inside a unit of work the isolation is that of the unit of work.")
        else:
            async with self._db.unit_of_work() as unit:
                answer = await attempt(unit)
        self._purge_now_and_then()
        return answer

    async def purge(self, limit: int = _PURGE_BATCH) -> int:
        """Remove keys whose time is over, at most ``limit`` of them; how many there were."""
        return await self._db.execute(_PURGE, (self._db.clock(), limit))

    async def close(self) -> None:
        """Wait for what is being removed."""
        if self._purging is not None:
            await asyncio.wait([self._purging])

    async def _first(self, key: str, digest: bytes) -> str:
        [row] = await self._db.fetch(_FIND, (key,))
        if row["request"] != digest:
            raise ConflictError(
                "This idempotency key was used for a request that was another one. Use a new key for each command."
            )
        text: str | None = row["result"]
        if text is None:
            raise UsageError(
                "A command was called inside of itself, under the same idempotency key."
            )
        return text

    def _purge_now_and_then(self) -> None:
        loop = asyncio.get_running_loop()
        if self._purged_at is None:
            self._purged_at = loop.time()
        if loop.time() - self._purged_at < _PURGE_EVERY:
            return
        self._purged_at = loop.time()
        self._purging = loop.create_task(self._purge_quietly(), context=Context())

    async def _purge_quietly(self) -> None:
        try:
            await self.purge()
        except ServiceError as error:
            logger.warning("Old idempotency keys were not removed (%s).", type(error).__name__)


class _Form:
    """How a result is stored: as JSON, or as the JSON of a type that it is restored to."""

    def __init__(self, kind: Any) -> None:
        self._adapter = None if kind is None else pydantic.TypeAdapter(kind)

    def encode(self, value: object) -> str:
        """The text of a result.

        Raises:
            UsageError: it would not come back as it is.
        """
        text: bytes | None = None
        try:
            if self._adapter is None:
                dumped = orjson.dumps(value)
                text = dumped if _is_plain(value, orjson.loads(dumped)) else None
            else:
                text = self._adapter.dump_json(
                    value, by_alias=True, round_trip=True, warnings="error"
                )
                self._adapter.validate_json(text)
        except (orjson.JSONEncodeError, pydantic_core.PydanticSerializationError, ValueError):
            text = None  # the errors show the value
        if text is None:
            raise UsageError(
                "What an idempotent command returns is stored as JSON, and this does not come back from there as it is. "
                "Say what it is: idempotent(key, body, result=SessionDTO)."
            )
        return text.decode()

    def decode(self, text: str) -> Any:
        """The result."""
        return orjson.loads(text) if self._adapter is None else self._adapter.validate_json(text)


def _is_plain(value: object, restored: object) -> bool:
    return type(value) is type(restored) and value == restored


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key or len(key) > _LONGEST_KEY or "\x00" in key:
        raise ValidationError.of(
            "key", f"an idempotency key is a text of 1 to {_LONGEST_KEY} characters"
        )


def _digest(request: object) -> bytes:
    """The same for requests that say the same, whatever the order of their fields.

    Raises:
        ValidationError: the request has no JSON.
    """
    text: bytes | None = None
    try:
        plain = pydantic_core.to_jsonable_python(request, bytes_mode="base64")
        text = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except (orjson.JSONEncodeError, pydantic_core.PydanticSerializationError, ValueError):
        pass  # the errors show the value
    if text is None:
        raise ValidationError.of("request", "what is asked has to be something that JSON can say")
    return hashlib.sha256(text).digest()


def _by_attempt(key: str, token: UUID) -> Check:
    """Looks whether this attempt is the one that is stored, if its connection was lost."""

    async def check(fetch: Fetch) -> Verdict:
        rows = await fetch(_LOOK, (key,))
        return ("committed", rows) if rows and rows[0]["attempt"] == token else ("rolled_back", ())

    return check
