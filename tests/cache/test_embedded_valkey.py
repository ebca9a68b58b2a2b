"""``cache_url="embedded"``: a server from a wheel."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from timber.cache.codec import JsonCodec
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.embedded import EmbeddedValkey
from timber.errors import ConfigurationError


@pytest.fixture
def directory() -> Generator[Path]:
    # Short: a socket's path has a limit that pytest's own folders are close to.
    with tempfile.TemporaryDirectory(prefix="tv-") as name:
        yield Path(name)


async def test_two_share_the_server_of_one_folder(directory: Path) -> None:
    first = await EmbeddedValkey(directory).start()
    second = await EmbeddedValkey(directory).start()
    caches = [coherent_cache(each.url, None) for each in (first, second)]
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return 1

    for cache in caches:
        await cache.start()
        kind = cache.kind("Row", JsonCodec("00"))
        assert await cache.read(kind, "Row:1", load) == b"1"
    assert loads == 1
    for cache in caches:
        await cache.close()
    await second.stop()
    assert await EmbeddedValkey(directory).start() is not None
    await first.stop()


async def test_a_path_too_long_for_a_socket_is_a_configuration_error(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        await EmbeddedValkey(directory / ("x" * 100)).start()
