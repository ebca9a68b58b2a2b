"""A TCP proxy in front of PostgreSQL that fails the way networks do, at an exact byte if need be."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Self

from sqlalchemy import URL, make_url

Direction = Literal["to_server", "to_client"]

_SPLIT_SECONDS = 0.003
"""Long enough for the first part of what was split to be read by itself."""


class _Action(Enum):
    CLOSE = "close"
    RESET = "reset"
    FREEZE = "freeze"
    SPLIT = "split"


@dataclass
class _Trap:
    """What happens once so many more bytes have passed in one direction."""

    count: int
    direction: Direction
    action: _Action
    each_connection: bool
    passed: Counter[int] = field(default_factory=Counter)

    def take(self, link: _Link, data: bytes) -> tuple[bytes, bytes]:
        """Split into what may still pass and the rest."""
        room = self.count - self.passed[self._key(link)]
        self.passed[self._key(link)] += min(room, len(data))
        return data[:room], data[room:]

    def is_full(self, link: _Link) -> bool:
        return self.passed[self._key(link)] >= self.count

    def _key(self, link: _Link) -> int:
        return link.number if self.each_connection else 0


class Proxy:
    """``async with Proxy(database_url) as proxy``; connect to ``proxy.url``.

    Byte counts begin when the trap is set. A trap for all connections together springs once and is gone, so that whoever
    connects again gets through; a trap for each connection stays until :meth:`heal`.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = make_url(upstream)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._dialing: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self._trap: _Trap | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self.passed: Counter[Direction] = Counter()
        """Bytes let through since the proxy began, by direction."""

    @property
    def url(self) -> str:
        query = {k: v for k, v in self._upstream.query.items() if k not in {"host", "port"}}
        url = self._upstream.set(host="127.0.0.1", port=self._port, query=query)
        return url.render_as_string(hide_password=False)

    @property
    def accepted(self) -> int:
        """Connections accepted since the proxy began."""
        return self._accepted

    @property
    def open_connections(self) -> int:
        return len(self._links)

    # ------------------------------------------------------------------------------------------------------- failures

    def cut_after(
        self,
        count: int,
        direction: Direction,
        *,
        each_connection: bool = False,
        reset: bool = False,
    ) -> None:
        """Let exactly ``count`` more bytes through, then cut the connection; ``reset`` is a RST in place of an end."""
        action = _Action.RESET if reset else _Action.CLOSE
        self._trap = _Trap(count, direction, action, each_connection)

    def freeze_after(self, count: int, direction: Direction) -> None:
        """Let exactly ``count`` more bytes through, then :meth:`freeze`."""
        self._trap = _Trap(count, direction, _Action.FREEZE, each_connection=False)

    def split_after(self, count: int, direction: Direction) -> None:
        """Let exactly ``count`` more bytes through, and what comes behind them a moment later, in a packet of its own."""
        self._trap = _Trap(count, direction, _Action.SPLIT, each_connection=False)

    def freeze(self) -> None:
        """Let nothing through, lose nothing: connections are accepted and stay silent."""
        self._flowing.clear()

    def delay(self, seconds: float) -> None:
        """Hold everything that passes for so long."""
        self._delay = seconds

    def cut_all(self, *, reset: bool = False) -> None:
        """Cut every open connection now."""
        for link in self._links:
            link.cut(reset=reset)

    async def refuse(self) -> None:
        """Refuse new connections; the open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Accept connections again."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)

    def heal(self) -> None:
        """Let everything through again. What was cut stays cut."""
        self._trap = None
        self._delay = 0.0
        self._flowing.set()

    # ------------------------------------------------------------------------------------------------------- plumbing

    async def __aenter__(self) -> Self:
        await self.accept()
        assert self._server is not None
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.refuse()
        await asyncio.sleep(0)  # let those start that were accepted at the last moment
        if self._dialing:
            await asyncio.wait(self._dialing)
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in self._links:  # whose task was cancelled before it began
            link.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialing = asyncio.current_task()
        assert dialing is not None
        self._dialing.add(dialing)
        try:
            upstream = await _connect(self._upstream)
        except OSError:
            writer.close()
            return
        finally:
            self._dialing.discard(dialing)
        self._accepted += 1
        link = _Link(self._accepted, (reader, writer), upstream)
        self._links[link] = asyncio.create_task(self._run(link))

    async def _run(self, link: _Link) -> None:
        pumps = [
            asyncio.create_task(self._pump(link, link.client, link.server, "to_server")),
            asyncio.create_task(self._pump(link, link.server, link.client, "to_client")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if link.is_cut:
                # Read what the client still says: closing with something unread would send a RST.
                await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await link.close()
            del self._links[link]

    async def _pump(self, link: _Link, source: _End, target: _End, direction: Direction) -> None:
        reader, writer = source[0], target[1]
        # An error of one side is the end of the connection for the other.
        with suppress(OSError):
            while data := await reader.read(65536):
                while data and not link.is_cut:
                    await self._flowing.wait()
                    if self._delay:
                        await asyncio.sleep(self._delay)
                    data = await self._pass_on(link, writer, data, direction)

    async def _pass_on(
        self, link: _Link, writer: asyncio.StreamWriter, data: bytes, direction: Direction
    ) -> bytes:
        """Let through what the trap allows and spring it when that was all; the answer is the rest."""
        trap = self._trap if self._trap and self._trap.direction == direction else None
        if trap is None:
            await self._send(writer, data, direction)
            return b""
        # What the trap allows is taken before the first await: another connection may come along in the meantime.
        passed, rest = trap.take(link, data)
        sprung = trap.is_full(link)
        if sprung and not trap.each_connection:
            self._trap = None
        await self._send(writer, passed, direction)
        if sprung and trap.action is _Action.FREEZE:
            self.freeze()
        elif sprung and trap.action is _Action.SPLIT:
            await asyncio.sleep(_SPLIT_SECONDS)
        elif sprung:
            link.cut(reset=trap.action is _Action.RESET)
        return rest

    async def _send(self, writer: asyncio.StreamWriter, data: bytes, direction: Direction) -> None:
        self.passed[direction] += len(data)
        writer.write(data)
        await writer.drain()


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One client's connection and the server's beyond it."""

    def __init__(self, number: int, client: _End, server: _End) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.is_cut = False
        for _, writer in (client, server):
            # So that drain() returns when the bytes are out, and a cut takes none of them along.
            writer.transport.set_write_buffer_limits(0)

    def cut(self, *, reset: bool) -> None:
        self.is_cut = True
        self.server[1].close()
        client = self.client[1]
        if reset:
            client.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            client.transport.abort()
        elif client.can_write_eof() and not client.is_closing():
            client.write_eof()

    def abort(self) -> None:
        for _, writer in (self.client, self.server):
            writer.transport.abort()

    async def close(self) -> None:
        for _, writer in (self.client, self.server):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _connect(upstream: URL) -> _End:
    host = upstream.query.get("host") or upstream.host or "localhost"
    port = upstream.port or int(str(upstream.query.get("port", 5432)))
    if isinstance(host, str) and host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(str(host), port)
