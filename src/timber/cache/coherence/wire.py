"""A connection that redis-py has opened and logged in, taken over: answers are handed on as they arrive.

A task that reads them, and the stream that it would read from, cost a turn of the event loop for every answer. And a client's
own connections connect anew by themselves: nobody would know to whom, nor what was missed in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

from hiredis import ProtocolError, Reader, pack_command
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    Command = Sequence[str | bytes | int]

_ERRORS: Final[dict[str, type[RedisError]]] = {
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "NOSCRIPT": NoScriptError,
    "READONLY": ReadOnlyError,
}


class Wire(asyncio.Protocol):
    """Speaks the older of the two protocols, in which messages are plain answers.

    Args:
        connection: of redis-py, connected; it is left without its socket.
        on_answer: is given every answer in its order; an error of the server as an exception.
        on_loss: called once, when the connection breaks by itself.
    """

    def __init__(
        self, connection: Any, on_answer: Callable[[Any], object], on_loss: Callable[[], object]
    ) -> None:
        # Kept, since a stream that nobody holds closes its socket. The connection has no public way to give it away.
        self._writer = connection._writer  # noqa: SLF001
        connection._reader = connection._writer = None  # noqa: SLF001
        self._transport: Any = self._writer.transport
        self._on_answer = on_answer
        self._on_loss = on_loss
        self._reader = Reader(replyError=_error)
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_dropped = False
        self._transport.set_protocol(self)

    @classmethod
    async def open(
        cls, client: Redis, on_answer: Callable[[Any], object], on_loss: Callable[[], object]
    ) -> Self:
        """Connect as a client would: with its login, its database, its TLS.

        Raises:
            RedisError: refused, or not in time.
            OSError: not reached.
        """
        pool: Any = client.connection_pool
        connection: Any = pool.make_connection()
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return cls(connection, on_answer, on_loss)

    def send(self, packed: bytes) -> None:
        """Send commands; none of them is sent later than one of a later call.

        Raises:
            redis.ConnectionError: the connection is broken.
        """
        if self._transport.is_closing():
            raise RedisConnectionError
        self._transport.write(packed)

    def drop(self) -> None:
        """Break the connection: whatever comes back on it is of no use any more."""
        self._is_dropped = True
        self._transport.abort()

    async def close(self) -> None:
        """Break the connection and wait until it is gone."""
        self.drop()
        await self._gone

    # The protocol's callbacks

    def data_received(self, data: bytes) -> None:
        if self._is_dropped:
            return
        reader = self._reader
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not False:
                self._on_answer(answer)
        except ProtocolError:
            self._transport.abort()  # where an answer ends is not known any more

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._gone.done():
            self._gone.set_result(None)
        if not self._is_dropped:
            self._is_dropped = True
            self._on_loss()


def pack(commands: Sequence[Command]) -> bytes:
    """Commands as they are sent.

    Raises:
        UnicodeEncodeError: a command holds half a character.
    """
    return b"".join([pack_command(tuple(c)) for c in commands])  # type: ignore[arg-type]  # of any number


def _error(text: str) -> RedisError:
    return _ERRORS.get(text.partition(" ")[0], ResponseError)(text)
