"""TLS with a certificate made on the spot: of a server, or of a proxy in front of one that has none."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import make_url

from tests.harness.postgres import Postgres
from timber.database import embedded_cluster as cluster

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that it has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.crt", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    paths[1].chmod(0o600)
    return paths


class TlsProxy:
    """Speaks TLS to clients and none to the server: ``async with TlsProxy(url, *make_certificate(folder)) as proxy``.

    The server's end of a connection is handed on as the end of the TLS connection, as PostgreSQL ends one itself.
    """

    def __init__(self, upstream: str, certificate: Path, key: Path) -> None:
        self._upstream = make_url(upstream)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._server: asyncio.Server | None = None
        self.encrypted = 0
        """Connections that asked for TLS and got it."""
        self.plain = 0
        """Connections that began without it."""

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        query = {k: v for k, v in self._upstream.query.items() if k not in {"host", "port"}}
        query["sslmode"] = "require"
        url = self._upstream.set(host="127.0.0.1", port=port, query=query)
        return url.render_as_string(hide_password=False)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(8)
            if first == _SSL_REQUEST:
                self.encrypted += 1
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._context)
                first = b""
            else:
                self.plain += 1
            await self._pass_on(first, reader, writer)
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _pass_on(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host = self._upstream.host or self._upstream.query["host"]
        port = int(self._upstream.port or self._upstream.query.get("port", 5432))
        if str(host).startswith("/"):
            to = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            to = await asyncio.open_connection(host, port)
        to[1].write(first)
        ways = [
            asyncio.create_task(_pump(reader, to[1])),
            asyncio.create_task(_pump(to[0], writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def programs_with_tls() -> Path | None:
    """The programs of a PostgreSQL on this machine that was built with OpenSSL; those of the wheel are built without."""
    given = os.environ.get("TIMBER_TEST_POSTGRES_BIN")
    found = [Path(given)] if given else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in (*found, cluster.find_binaries()):
        program = folder / "postgres"
        if program.exists() and b"SSL_CTX_new" in program.read_bytes():
            return folder
    return None


class TlsServer(Postgres):
    """A server that listens on a port of 127.0.0.1 with ``ssl = on``."""

    def __init__(self, folder: Path, programs: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        super().__init__(
            folder, port=str(self.port), listen_addresses="'127.0.0.1'", ssl="on", fsync="off"
        )
        self._binaries = programs
        certificate, key = make_certificate(folder)
        if self._account:
            os.chown(certificate, *self._account)
            os.chown(key, *self._account)
        self._settings["ssl_cert_file"] = f"'{certificate}'"
        self._settings["ssl_key_file"] = f"'{key}'"

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/postgres?sslmode=require"
