"""What a contender really sends: a proxy before PostgreSQL that notes every statement and round trip.

Hooks of a driver or of a library see what they are made to see; the wire does not leave anything out. That is how the
limit is known to perform the same statements as Timber. No time is ever measured through the proxy.
"""

from __future__ import annotations

import asyncio
import re
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sqlalchemy import URL

_ENCRYPTION_REQUESTS = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_LENGTH = struct.Struct("!i")


@dataclass(slots=True)
class Recorder:
    """Statements in the order in which they were executed, and the round trips they took."""

    statements: list[str] = field(default_factory=list)
    round_trips: int = 0

    def clear(self) -> None:
        self.statements = []
        self.round_trips = 0


@asynccontextmanager
async def recorded(url: URL) -> AsyncGenerator[tuple[URL, Recorder]]:
    """A URL that leads to the same database through a proxy, and what passes there."""
    recorder = Recorder()
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await _serve(url, recorder, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # an end of a connection, however it came
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    query = {key: value for key, value in url.query.items() if key not in ("host", "port")}
    try:
        yield url.set(host="127.0.0.1", port=port, query=query), recorder
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _connect(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host = url.query.get("host") or url.host or "127.0.0.1"
    port = int(str(url.query.get("port") or url.port or 5432))
    if isinstance(host, str) and host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(str(host), port)


async def _serve(
    url: URL, recorder: Recorder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    server_reader, server_writer = await _connect(url)
    try:
        startup = await _untyped(reader)
        while _LENGTH.unpack_from(startup, 4)[0] in _ENCRYPTION_REQUESTS:
            writer.write(b"N")  # what is encrypted cannot be noted
            startup = await _untyped(reader)
        server_writer.write(startup)
        client = _Client(recorder)
        both = (
            asyncio.create_task(_pump(reader, server_writer, client.sent)),
            asyncio.create_task(_pump(server_reader, writer, client.received)),
        )
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
    finally:
        server_writer.close()


async def _untyped(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(_LENGTH.unpack(head)[0] - 4)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    note: Callable[[bytes, bytes], None],
) -> None:
    while True:
        head = await reader.readexactly(5)
        body = await reader.readexactly(_LENGTH.unpack_from(head, 1)[0] - 4)
        note(head[:1], body)
        writer.write(head + body)
        await writer.drain()


class _Client:
    """The prepared statements and portals of one connection."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def sent(self, kind: bytes, body: bytes) -> None:
        if kind == b"Q":
            self._recorder.statements.append(_plain(body[:-1]))
        elif kind == b"P":
            name, sql, _ = body.split(b"\0", 2)
            self._statements[name] = _plain(sql)
        elif kind == b"B":
            portal, statement, _ = body.split(b"\0", 2)
            self._portals[portal] = self._statements[statement]
        elif kind == b"E":
            self._recorder.statements.append(self._portals[body.split(b"\0", 1)[0]])

    def received(self, kind: bytes, _: bytes) -> None:
        if kind == b"Z":  # ReadyForQuery ends each round trip
            self._recorder.round_trips += 1


def _plain(sql: bytes) -> str:
    """The text without line breaks and casts of parameters."""
    text = re.sub(r"\s+", " ", sql.decode()).strip().rstrip(";")
    cast = r"(\$\d+)::\w+(?: varying| precision| with time zone)?(?:\[\]|\(\d+\))*"
    return re.sub(cast, r"\1", text, flags=re.IGNORECASE)
