"""Several servers behind one URL, of which one takes the writes."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import URL

_PORT: Final = 5432
_SEVERAL = re.compile(
    r"^(?P<scheme>[\w+]+://)(?P<user>[^@/?]*@)?(?P<hosts>[^/?]*,[^/?]*)(?P<rest>.*)$", re.DOTALL
)


class Host(NamedTuple):
    """One server."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


def spread_hosts(url: str) -> str:
    """A URL with ``host:port,host:port`` before its path, as libpq takes it, in the form that SQLAlchemy can read."""
    match = _SEVERAL.match(url)
    if match is None:
        return url
    path, _, query = match["rest"].partition("?")
    hosts = "&".join(f"host={host}" for host in match["hosts"].split(","))
    return (
        f"{match['scheme']}{match['user'] or ''}{path or '/'}?{hosts}{'&' + query if query else ''}"
    )


def hosts_of(url: URL) -> list[Host]:
    """The servers that a URL names in its query, if it does.

    Raises:
        ValueError: a port is not a number, or there are more or fewer ports than hosts.
    """
    names = _listed(url.query.get("host"))
    if not names:
        return []
    ports = [int(port) for port in _listed(url.query.get("port"))] or [url.port or _PORT]
    if len(ports) == 1:
        ports *= len(names)
    return [_split(name, port) for name, port in zip(names, ports, strict=True)]


class Hosts:
    """Connects to the first of several servers that is reached and of the wanted kind.

    Each has its share of the time, so that one which does not answer leaves some for the next, and the one that was right
    the last time is asked first.
    """

    def __init__(self, hosts: Sequence[Host], target_session_attrs: str) -> None:
        self._hosts = list(hosts)
        self._wanted = target_session_attrs

    async def connect(self, *, timeout: float, **options: Any) -> asyncpg.Connection[Any]:  # noqa: ASYNC109  # the driver's
        """A connection to one of them, within ``timeout`` seconds.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InternalClientError: what the last of them answered.
        """
        if self._wanted == "prefer-standby":
            # The driver has to see them all before it can settle for another.
            names, ports = zip(*self._hosts, strict=True)
            return await self._ask(list(names), list(ports), timeout, options)
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        failure: BaseException | None = None
        for place, host in enumerate(tuple(self._hosts)):
            share = (until - loop.time()) / (len(self._hosts) - place)
            try:
                driver = await self._ask(host.name, host.port, max(share, 0.001), options)
            except (
                OSError,
                asyncpg.CannotConnectNowError,
                asyncpg.TargetServerAttributeNotMatched,
            ) as error:
                failure = error
                continue
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            return driver
        assert failure is not None
        raise failure

    async def _ask(
        self, host: str | list[str], port: int | list[int], seconds: float, options: dict[str, Any]
    ) -> asyncpg.Connection[Any]:
        connect: Any = asyncpg.connect
        place = {"host": host, "port": port, "target_session_attrs": self._wanted}
        driver: asyncpg.Connection[Any] = await connect(**{**options, **place, "timeout": seconds})
        return driver


def _listed(value: str | tuple[str, ...] | None) -> list[str]:
    if value is None:
        return []
    return value.split(",") if isinstance(value, str) else list(value)


def _split(name: str, port: int) -> Host:
    if name.startswith("["):  # an address of IPv6
        address, _, rest = name[1:].partition("]")
        return Host(address, int(rest[1:]) if rest else port)
    if name.startswith("/") or name.count(":") != 1:
        return Host(name, port)
    host, _, own = name.partition(":")
    return Host(host, int(own))
