"""A real PgBouncer in front of the tests' server, from Debian's package ``pgbouncer``."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import asyncpg
from sqlalchemy import make_url

PoolMode = Literal["session", "transaction"]

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")

CONFIGURATION = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
{options}
"""


def is_installed() -> bool:
    return PROGRAM is not None and sys.platform.startswith("linux")


@asynccontextmanager
async def pgbouncer(
    url: str, mode: PoolMode, *, size: int = 5, options: str = ""
) -> AsyncGenerator[str]:
    """The URL of the same database behind a PgBouncer of the test's own."""
    assert PROGRAM is not None
    upstream = make_url(url)
    host = upstream.query.get("host") or upstream.host or "localhost"
    server = f"host={host} port={upstream.port or upstream.query.get('port', 5432)}"
    server += f" user={upstream.username or 'postgres'}"
    if upstream.password:
        server += f" password={upstream.password}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        options += f"\nuser = {pwd.getpwnam('nobody').pw_name}"
    with tempfile.TemporaryDirectory(prefix="timber-pgbouncer-") as folder:
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(
            CONFIGURATION.format(server=server, port=port, mode=mode, size=size, options=options)
        )
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "-q", str(file), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            behind = upstream.set(host="127.0.0.1", port=port, query={})
            text = behind.render_as_string(hide_password=False)
            await _wait_until_it_listens(text)
            yield text
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _wait_until_it_listens(url: str) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    for _ in range(100):
        try:
            connection = await asyncpg.connect(dsn, statement_cache_size=0)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            await connection.close()
            return
    raise AssertionError("PgBouncer does not listen")
