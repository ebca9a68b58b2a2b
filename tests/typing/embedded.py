from __future__ import annotations

from typing import assert_type

from timber.database.embedded import EmbeddedPostgres


async def starting_gives_a_server() -> None:
    server = await EmbeddedPostgres.start("somewhere", server_settings={"work_mem": "8MB"})
    assert_type(server, EmbeddedPostgres)
    assert_type(server.url, str)
    assert_type(EmbeddedPostgres.start_blocking(), EmbeddedPostgres)
