"""Broken URLs and settings, as keywords and in the environment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.junk import TEXTS, junk, shown
from timber.app import Timber
from timber.settings import TimberSettings

_PIECES = (
    "postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg", "mysql", "http", "embedded", "", "://", ":", "/", "//",
    "user", "p%40ss", "%", "%zz", "%00", "@", "127.0.0.1", "localhost", "[::1]", "[", "]", "127.0.0.1:9,127.0.0.1:10", ",",
    "9", "0", "65536", "-1", "x9", "name", "a" * 300, "?", "&", "=", "sslmode=require", "sslmode=never", "timeout=x", "timeout=1",
    "ssl=1", "host=127.0.0.1", "host=/nowhere", "port=9", "port=", "target_session_attrs=any", "target_session_attrs=x", "#",
    "statement_cache_size=x", "command_timeout=-1", "server_settings=x", "options=-c x", "connect_timeout=1", "dsn=x", "loop=1",
    " ", "\0", "\ud800", "\n", "ü", "passfile=/nowhere", "krbsrvname=x", "direct_tls=1", "application_name=x", "host=a&host=b",
)  # fmt: skip
_NOT_TRIED = ("embedded_directory", "features")
"""One makes folders, the other imports what it names."""
_NAMES = [name for name in TimberSettings.model_fields if name not in _NOT_TRIED]


def broken_url(rng: random.Random, good: str) -> Any:
    """Pieces in any order, a good one with a piece of it changed, or no text at all."""
    kind = rng.random()
    if kind < 0.15:
        return junk(rng)
    if kind < 0.5:
        return "".join(rng.choice(_PIECES) for _ in range(rng.randint(1, 9)))
    if kind < 0.75:
        return f"postgresql://u:p@127.0.0.1:9/name?{'&'.join(rng.choices(_PIECES, k=rng.randint(1, 3)))}"
    start, end = sorted(rng.choices(range(len(good)), k=2))
    return good[:start] + rng.choice(("", *_PIECES)) + good[end:]


class BadSettings:
    """One Timber with settings that do not fit, or hardly."""

    def __init__(self, rng: random.Random, good: str) -> None:
        self.rng = rng
        self.keywords: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.url: Any = broken_url(rng, good) if rng.random() < 0.5 else good
        for _ in range(rng.choice((0, 1, 1, 2))):
            name = rng.choice(_NAMES) if rng.random() < 0.95 else rng.choice(("colour", "pool"))
            if rng.random() < 0.3:
                value = rng.choice(TEXTS)
                if "\0" not in value and value.isprintable():
                    self.environment[f"TIMBER_{name.upper()}"] = value
            elif name != "database_url":
                self.keywords[name] = (
                    junk(rng) if rng.random() < 0.6 else rng.choice((0, 1, -1, "1", 1e9))
                )
        if rng.random() < 0.2:
            self.keywords["cache_url"] = rng.choice(
                (
                    "redis://127.0.0.1:9",
                    "redis://",
                    "rediss://127.0.0.1:9",
                    "http://x",
                    "memory",
                    "redis://127.0.0.1:x",
                    "x",
                )
            )

    def __str__(self) -> str:
        return shown({"url": self.url, **self.keywords, **self.environment}, 600)

    async def run(self) -> None:
        """Make it, and start it where that needs nobody who may not answer."""
        with self._surroundings():
            timber = Timber(self.url, **{"connect_timeout": 0.5, **self.keywords})
            await timber.start()
        try:
            await timber.sessions.count()
        finally:
            await timber.close()

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield
