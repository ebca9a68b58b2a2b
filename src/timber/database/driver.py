"""The driver's connection with a cancel protocol of our own.

PostgreSQL cancels by a request on another connection that names a server process and not a statement: one that arrives late
hits whatever runs then. The server sends the signal before it closes that other connection, and a process that waits for
its next command ignores it, so that a connection may be used again once the cancelled statement has been answered and the
request's connection has come to a clean end; libpq's PQcancel relies on the same. Where either does not happen in time the
connection is closed, never reused.
"""

from __future__ import annotations

import asyncio
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg import connect_utils

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE: Final = 0.03
"""Seconds that a statement nobody wants any more may go on before the server is asked to cancel it. Most statements end by
themselves in that time, which costs nothing; a request costs a connection and a process of the server."""

_CONFIRM_SECONDS: Final = 5.0
_CANCEL_REQUEST: Final = 80877102


class Driver(asyncpg.Connection):
    """A connection whose cancelled statements leave it usable wherever the server confirms in time.

    It overrides private methods of the driver, here and nowhere else; a test pins them to the version.
    """

    __slots__ = ("unreplicated",)

    _protocol: Any
    _aborted: bool
    _cancellations: set[asyncio.Task[None]]
    _stmt_cache: Any
    _transport: asyncio.WriteTransport

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.unreplicated: bool = False
        """Whether a commit has stopped waiting for the standby that it was to reach; see :func:`is_unreplicated`."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # the driver's
        """Close gracefully, or at once where a cancelled statement would have to be waited for."""
        if not self.is_closed() and self._protocol._is_cancelling():
            self.terminate()
        else:
            await super().close(timeout=timeout)

    def say_before(self, text: str, query: str) -> bool:
        """Send statements that return nothing ahead of ``query``, with which the server then answers them: a round trip less.

        The next call has to be ``fetch(query)``, without a wait before it. If the driver refuses that before it is sent, any
        other ``fetch`` has to follow at once: when the server refuses ``text`` it ignores everything up to a Sync, and a
        simple query, as of ``execute``, has none.

        Args:
            text: statements without parameters, with ``"; "`` between them.

        Returns:
            False where nothing was sent: ``query`` is not prepared yet, a cancelled statement still has to be answered, the
            connection is closed, or the driver is of a version that is made otherwise.
        """
        if self.is_closed():
            return False
        try:
            known = (query, self._protocol.get_record_class(), False)
            if self._protocol._is_cancelling() or not self._stmt_cache.has(known):
                return False
            write = self._transport.write
        except AttributeError:
            return False
        write(_messages(text))
        return True

    async def _cancel(
        self, waiter: asyncio.Future[None], cancel_waiter: asyncio.Future[None] | None = None
    ) -> None:
        """Runs as a task when a statement is cancelled: lets it end, or has it cancelled.

        ``waiter`` is set when no request is under way any more, ``cancel_waiter`` by the driver when the server has
        answered; the next statement waits for both.
        """
        try:
            if cancel_waiter is not None and await _ends_within(PATIENCE, cancel_waiter):
                return
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await request_cancel(self)
                if not waiter.done():
                    waiter.set_result(None)
                if cancel_waiter is not None:
                    await asyncio.shield(cancel_waiter)
        except asyncio.CancelledError:
            pass  # the connection is being closed
        except (OSError, asyncpg.InterfaceError):
            # Not known to have been dealt with: it might hit the next statement.
            if not self._aborted:
                self.terminate()
        finally:
            task: Any = asyncio.current_task()
            self._cancellations.discard(task)
            if not waiter.done():
                waiter.set_result(None)

    def _process_log_message(self, fields: dict[str, str], last_query: str | None) -> None:
        if fields.get("F") == "syncrep.c":
            self.unreplicated = True
        super()._process_log_message(fields, last_query)  # type: ignore[misc]


@lru_cache(maxsize=256)
def _messages(text: str) -> bytes:
    """Parse, Bind and Execute for each statement, without the Sync that would have them answered at once."""
    return b"".join(
        b"P%b\0%b\0\0\0" % (_length(len(sql) + 4), sql) + _BIND_AND_EXECUTE
        for sql in text.encode().split(b"; ")
    )


def _length(body: int) -> bytes:
    return struct.pack("!i", body + 4)


_BIND_AND_EXECUTE: Final = (
    b"B" + _length(8) + bytes(8)  # the unnamed portal and statement; no formats, values or results
    + b"E" + _length(5) + bytes(5)
)  # fmt: skip


class Interruption:
    """A lone write whose caller does not want it any more: after a moment the server is asked to cancel it.

    Unlike a cancelled statement it is still waited for, so that its answer tells whether it was in time.
    """

    __slots__ = ("_asked", "_driver", "_task")

    def __init__(self, driver: asyncpg.Connection[Any]) -> None:
        self._driver = driver
        self._task: asyncio.Task[None] | None = None
        self._asked = False

    def begin(self) -> None:
        """Give it :data:`PATIENCE` from now."""
        self._task = asyncio.get_running_loop().create_task(self._ask())

    async def end(self) -> None:
        """The write has been answered: wait until the request can hit nothing else, or close the connection."""
        if self._task is None:
            return
        if not self._asked:
            self._task.cancel()
            return
        try:
            await asyncio.wait([self._task])
            confirmed = self._task.exception() is None
        except TimeoutError:
            self._task.cancel()
            confirmed = False
        if not confirmed:
            self._driver.terminate()

    async def _ask(self) -> None:
        await asyncio.sleep(PATIENCE)
        self._asked = True
        await request_cancel(self._driver)


def say_before(driver: asyncpg.Connection[Any], text: str, query: str) -> bool:
    """As :meth:`Driver.say_before`; False with another driver's connection, of an engine that was given."""
    say: Callable[[str, str], bool] | None = getattr(driver, "say_before", None)
    return say is not None and say(text, query)


def is_unreplicated(driver: asyncpg.Connection[Any]) -> bool:
    """Whether the commit just made is on this server only, since a cancel ended its wait for a standby."""
    known: Any = driver  # the driver's metaclass takes every connection for an instance of ours
    if getattr(known, "unreplicated", False):
        known.unreplicated = False
        return True
    return False


async def request_cancel(driver: Any) -> None:
    """Ask the server to cancel what the connection runs now; returns when the server has dealt with it.

    Raises:
        OSError: it could not be asked, or the request may still be on its way.
    """
    loop = asyncio.get_running_loop()
    transport, line = await _open(driver, loop)
    try:
        transport.write(
            struct.pack(
                "!llll",
                16,
                _CANCEL_REQUEST,
                driver._protocol.backend_pid,
                driver._protocol.backend_secret,
            )
        )
        await line.ended
    finally:
        transport.close()


class _CancelLine(asyncio.Protocol):
    """The connection of one request; it ends when the server has passed the request on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        self.is_ssl = False  # the driver's way to a connection with TLS sets it

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if exc is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(ConnectionError("the cancel request was cut off"))


async def _open(driver: Any, loop: asyncio.AbstractEventLoop) -> tuple[Any, _CancelLine]:
    address, params = driver._addr, driver._params

    def make() -> _CancelLine:
        return _CancelLine(loop)

    opening: Awaitable[tuple[Any, _CancelLine]]
    if isinstance(address, str):
        opening = loop.create_unix_connection(make, address)
    elif params.ssl and params.ssl_negotiation is connect_utils.SSLNegotiation.direct:
        opening = loop.create_connection(make, *address, ssl=params.ssl)
    elif params.ssl and params.sslmode != connect_utils.SSLMode.allow:
        opening = connect_utils._create_ssl_connection(  # type: ignore[attr-defined]
            make,
            *address,
            loop=loop,
            ssl_context=params.ssl,
            ssl_is_advisory=params.sslmode == connect_utils.SSLMode.prefer,
        )
    else:
        opening = loop.create_connection(make, *address)
    return await opening


async def _ends_within(seconds: float, future: asyncio.Future[None]) -> bool:
    ended, _ = await asyncio.wait([future], timeout=seconds)
    return bool(ended)
