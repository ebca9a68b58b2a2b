"""Serves one application, in a process of its own that ends when a file changes."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any


def serve(directory: str, app: str, host: str, port: int) -> None:
    """Import an application, or what makes one, and serve it until interrupted.

    Args:
        app: ``package.module:name``, importable from ``directory``.
    """
    sys.path.insert(0, directory)
    module, _, name = app.partition(":")
    found: Any = getattr(import_module(module), name)
    made: Any = found() if inspect.isfunction(found) and not _is_asgi(found) else found
    if type(made).__module__.startswith("aiohttp."):
        from aiohttp.web import run_app

        run_app(made, host=host, port=port, print=None)
    else:
        import uvicorn

        uvicorn.run(made, host=host, port=port, log_level="info")


def _is_asgi(function: Any) -> bool:
    """Whether it is an application itself, and not what makes one."""
    return len(inspect.signature(function).parameters) == 3 and inspect.iscoroutinefunction(
        function
    )


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
