"""The start and the end of a Timber with the application's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from timber.integrations.running import TimberSource, running

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]

STATE = "timber"
"""Where a request's state has the Timber."""


def lifespan(
    timber: TimberSource = None, *inner: Lifespan, drain: float = 10.0
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """The ``lifespan`` of an application: ``FastAPI(lifespan=lifespan(timber, my_lifespan))``.

    Inside a lifespan of one's own it is ``async with lifespan(timber)(app) as state: yield {**state, ...}``.

    Args:
        timber: a Timber, or what makes one at the start; by default one by the settings of the environment. One that is
            running already is left running.
        inner: lifespans that begin after it, in order, and end before it; what they give goes into the state too.
        drain: seconds that work which is going on at the end may still take.
    """

    @asynccontextmanager
    async def whole(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            state: dict[str, Any] = {STATE: await stack.enter_async_context(running(timber, drain))}
            for each in inner:
                given = await stack.enter_async_context(each(app))
                state.update(given if given is not None else {})
            yield state

    return whole
