"""Web applications on real servers, each in a thread with a loop of its own, and a client that speaks HTTP to them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import uvicorn
from aiohttp import web

_START_SECONDS = 20.0


@contextmanager
def serve_asgi(app: Any) -> Generator[str]:
    """An ASGI application on uvicorn; the answer is its address."""
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)

    async def serve(taken: socket.socket, started: Callable[[], None]) -> None:
        serving = asyncio.create_task(server.serve(sockets=[taken]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        started()
        await serving

    with _in_a_thread(serve, lambda: setattr(server, "should_exit", True)) as address:
        yield address


@contextmanager
def serve_aiohttp(app: web.Application) -> Generator[str]:
    """An aiohttp application on its own runner; the answer is its address."""
    stopping = threading.Event()

    async def serve(taken: socket.socket, started: Callable[[], None]) -> None:
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, taken).start()
            started()
            while not stopping.is_set():
                await asyncio.sleep(0.01)
        finally:
            await runner.cleanup()

    with _in_a_thread(serve, stopping.set) as address:
        yield address


@contextmanager
def _in_a_thread(
    serve: Callable[[socket.socket, Callable[[], None]], Coroutine[Any, Any, None]],
    stop: Callable[[], None],
) -> Generator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        started = threading.Event()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                asyncio.run(serve(taken, started.set))
            except BaseException as error:  # noqa: BLE001  # it is raised in the test's thread
                errors.append(error)
            finally:
                started.set()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert started.wait(_START_SECONDS)
        try:
            if not errors:
                yield f"http://127.0.0.1:{port}"
        finally:
            stop()
            thread.join(_START_SECONDS)
        if errors:
            raise errors[0]
        assert not thread.is_alive()


@dataclass(frozen=True)
class Reply:
    """What a server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def fields(self) -> set[str]:
        """The fields that a problem names."""
        return {problem["field"] for problem in self.json["errors"]}


class Client:
    """Speaks to one server, as one user unless a call says otherwise."""

    def __init__(self, session: aiohttp.ClientSession, address: str, user: str) -> None:
        self.session = session
        self.address = address
        self.user = user

    async def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        body: bytes | None = None,
        user: str | None = "",
        **headers: str,
    ) -> Reply:
        """One request; words of headers are separated by ``_``. ``user=None`` is nobody."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if (actor := self.user if user == "" else user) is not None:
            named["X-User-Id"] = actor
        if json is not None:
            body = orjson.dumps(json)
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.address + path, data=body, headers=named, allow_redirects=False
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, found, await response.read())

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Reply:
        return await self.call("POST", path, json, **options)

    async def patch(self, path: str, json: Any = None, **options: Any) -> Reply:
        return await self.call("PATCH", path, json, **options)

    async def delete(self, path: str, **options: Any) -> Reply:
        return await self.call("DELETE", path, **options)
