"""The SQLAlchemy engine behind a manager: how it is made, and what its events are used for."""

from __future__ import annotations

import asyncio
import re
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import in_greenlet

from timber.database.errors import FOREIGN, translate
from timber.database.holding import BUSY
from timber.database.sessions import NOT_BY_HAND, TRANSACTION
from timber.database.urls import connect_arguments
from timber.dto import encode_json
from timber.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

    from timber.database.core import Core
    from timber.settings import TimberSettings


_ENDS: Final = re.compile(
    r"(?>\s+|--[^\n]*\n|/\*.*?\*/)*+"  # what stands in front of the first word
    r"(?:(?:abort|begin|commit|end|start\s+transaction|prepare\s+transaction)\b"
    r"|rollback\b(?!\s+(?:(?:work|transaction)\s+)?to\b))",
    re.IGNORECASE | re.DOTALL,
)
"""What begins or ends a transaction. Sent in a unit of work, its outcome would be another than the one that is told."""


def make_engine(url: URL, settings: TimberSettings) -> AsyncEngine:
    """An engine with the pool that the settings ask for.

    Raises:
        ConfigurationError: the URL has a parameter that the driver does not know.
    """
    return create_async_engine(
        url.set(query={}),
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=settings.pool_recycle,
        pool_use_lifo=True,
        echo_pool=settings.echo_pool,
        json_serializer=encode_json,
        json_deserializer=orjson.loads,
        hide_parameters=True,
        connect_args=connect_arguments(url, settings),
    )


def listen(  # noqa: C901  # one small function for each event
    engine: Engine, *, core: Core, owned: bool
) -> None:
    """Have the engine's errors translated, its dead connections replaced and its statements seen and timed.

    Args:
        owned: it is Timber's own; what the owner of a given one does with it is left alone.
    """
    moments, monitor, target = core.moments, core.monitor, core.target

    def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        if not in_greenlet():
            # The pool was called directly and has to connect anew: refused here, before the driver has made a coroutine
            # that nobody would await, it is called again in a greenlet.
            raise MissingGreenlet
        if not owned:
            return None
        try:
            return dialect.connect(*arguments, **options)
        except FOREIGN as error:
            raise translate(error, target) from error
        except ValueError:
            # Its message shows the value.
            raise ConfigurationError(
                "The driver (asyncpg) does not take a parameter of database_url: compare it with those of asyncpg.connect()."
            ) from None

    def translate_error(context: Any) -> BaseException | None:
        if context.engine is engine and context.execution_context is not None:
            ran(context.execution_context, context.connection, context.original_exception)
        error = context.sqlalchemy_exception or context.original_exception
        connection = context.connection
        transaction = connection and connection.get_execution_options().get(TRANSACTION)
        if transaction and isinstance(error, asyncio.CancelledError):
            # SQLAlchemy would close the connection; the unit of work settles it, which costs less.
            context.is_disconnect = False
        if not isinstance(error, FOREIGN) or not (owned or context.engine is engine):
            return None
        failed: BaseException = transaction.failed(error) if transaction else core.failed(error)
        return failed

    def before_execute(connection: Any, clause: Any, *_rest: Any) -> None:
        for callback in moments.before_execute:
            callback(connection, clause)

    def begins(
        connection: Any, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: object
    ) -> None:
        if _ENDS.match(sql) and TRANSACTION in connection.get_execution_options():
            raise UsageError(NOT_BY_HAND)
        mark(connection, BUSY)
        context.timber_began = sql, perf_counter()

    def ended(
        connection: Any, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: object
    ) -> None:
        ran(context, connection)

    def ran(context: Any, connection: Any, error: BaseException | None = None) -> None:
        sql, began = context.__dict__.pop("timber_began", (None, 0.0))
        if sql is not None:
            ended = perf_counter()
            mark(connection, ended)
            monitor.ran("session", sql, ended - began, error)

    def mark(connection: Any, quiet_since: float) -> None:
        transaction = connection.get_execution_options().get(TRANSACTION) if connection else None
        if transaction is not None and transaction.link is not None:
            transaction.link.quiet_since = quiet_since

    if owned:
        event.listen(engine.pool, "checkout", _refuse_the_dead)
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", translate_error)
    event.listen(engine, "before_execute", before_execute)
    event.listen(engine, "before_cursor_execute", begins)
    event.listen(engine, "after_cursor_execute", ended)


def _refuse_the_dead(connection: Any, *_event: Any) -> None:
    """Sessions that are their own masters do not ask whether their connection lives; the pool then makes another."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
