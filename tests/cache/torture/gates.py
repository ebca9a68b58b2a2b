"""What stands between a process and Redis: it can be shut, and it can be turned to another server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

_CHUNK = 65_536


class Gate:
    """A port that leads to another one."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._passing: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def shut(self) -> None:
        """Nothing passes any more, and no connection breaks: a partition."""
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def drop(self) -> None:
        """Break every connection."""
        for task in self._passing:
            task.cancel()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                one = asyncio.ensure_future(self._copy(reader, back))
                other = asyncio.ensure_future(self._copy(there, writer))
                try:
                    await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    one.cancel()
                    other.cancel()
                    await asyncio.gather(one, other, return_exceptions=True)
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._passing.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
