"""A database to be called badly, and whether a call has kept to what is promised: a Timber error or success, in time, and where
it failed nothing written."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from tests.faults.bad_calls import MODELS, USERS, Call, World
from tests.harness.databases import connected
from timber.app import Timber
from timber.database.outcome import outcome_of
from timber.errors import ServiceError
from timber.features.audit import AuditKeys, AuditProvider
from timber.features.encryption import CallableKeyRing, EncryptionProvider, KeySet
from timber.models.registry import ModelRegistry

PATIENCE = 10.0
"""Seconds after which a call hangs."""
_FRESH_AFTER = 60
"""Calls that wrote, after which the tables are as they were in the beginning."""
_UNCOUNTED = ("timber_owed", "research_leases")
"""What is owed to a cache, and the leases of loaders, come and go by themselves."""

REGISTRY_FILE = Path(__file__).parent / "bad_models.yaml"
PROVIDERS = (
    EncryptionProvider(CallableKeyRing(lambda: KeySet("k1", {"k1": b"k" * 32}))),
    AuditProvider(AuditKeys(["a secret that is only a test's, and long"])),
)


def make_registry() -> ModelRegistry:
    return ModelRegistry(files=[REGISTRY_FILE])


class Findings:
    """What was not as promised, told apart by what happened and where."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, what: str, how: object) -> None:
        self.counts[what] += 1
        self.first.setdefault(what, str(how))

    def check(self) -> None:
        told = [f"{n} x {what}: first {self.first[what]}" for what, n in self.counts.most_common()]
        assert not told, "\n".join(told)


class Outcomes(Counter[str]):
    """How often there was success, and which errors."""


async def judge(
    what: str, call: Callable[[], Awaitable[object]], describe: object, findings: Findings
) -> BaseException | None:
    """Run a call; what it raised, if that is Timber's or a finding."""
    began = time.perf_counter()
    error: BaseException | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            await call()
    except ServiceError as refused:
        error = refused
    except Exception as wrong:  # noqa: BLE001  # that is what is looked for
        error = wrong
        findings.add(f"{what}: {_told(wrong)}", describe)
    if time.perf_counter() - began > PATIENCE / 2:
        findings.add(f"{what}: took {time.perf_counter() - began:.1f} s", describe)
    return error


def _told(error: BaseException) -> str:
    """The error, and the last line of the package that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/timber/" in frame.filename] or list(frames)
    at = f"{ours[-1].filename.rpartition('/timber/')[2]}:{ours[-1].lineno}" if ours else "nowhere"
    return f"{type(error).__name__} at {at} ({str(error)[:100]!r})"


class Bench:
    """Calls one after the other, each held against the database before and after."""

    def __init__(
        self, timber: Timber, database: asyncpg.Connection[Any], rng: random.Random
    ) -> None:
        self.timber = timber
        self.database = database
        self.rng = rng
        self.findings = Findings()
        self.outcomes = Outcomes()
        self.world = World(timber)
        self._digest_sql = ""
        self._digest: object = None
        self._written = 0

    async def start(self) -> None:
        names = await self.database.fetch(
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL($1)",
            _UNCOUNTED,
        )
        self._tables = [row["name"] for row in names]
        self._digest_sql = " UNION ALL ".join(
            f"SELECT '{name}' AS name, count(*) AS rows, sum(hashtextextended(each::text, 0)::numeric) AS sum"
            f" FROM {name} AS each"
            for name in self._tables
        )
        await self.begin_anew()

    async def begin_anew(self) -> None:
        """A few rows of each model."""
        timber = self.timber
        await self.database.execute("SET session_replication_role = replica")
        await self.database.execute(f"TRUNCATE {', '.join(self._tables)} CASCADE")
        if timber.settings.cache_url is not None:
            await timber.cache.clear()
        for user in USERS:
            session = await timber.sessions.create_session(user, "research", {"symbol": "AAPL"})
            await timber.sessions.transition(session.id, "paused")
            await timber.research.save_research(session.id, {"text": "gold"}, "note", title="x")
            await timber.notifications.create_notification(user, "ready", title="x", content="y")
            folder = await timber.service("Folder").create({"user_id": user, "title": "x"})
            await timber.service("Case").create(
                {"user_id": user, "folder_id": folder.id, "body": "gold", "secret": "s"}
            )
            tracker = await timber.tracking.create_tracker(user, "price", conditions={"x": 1})
            await timber.tracking.log_event(tracker.id, {"price": 1})
        for name in MODELS:
            table = timber.registry.get_model(name).__table__.name
            rows = await self.database.fetch(f"SELECT id FROM {table}")
            self.world.ids[name] = [row["id"] for row in rows]
        self._written = 0
        self._digest = await self._look()

    async def _look(self) -> object:
        return await self.database.fetch(self._digest_sql)

    async def once(self) -> None:
        call = Call(self.world, self.rng)
        way = self.rng.choice((self._alone, self._alone, self._inside, self._caught_inside))
        error = await judge(f"{call.target}.{call.method}", lambda: way(call), call, self.findings)
        self.outcomes["success" if error is None else type(error).__name__] += 1
        digest = await self._look()
        if digest == self._digest:
            return
        if error is not None and outcome_of(error) != "committed":
            changed = [a["name"] for a, b in zip(digest, self._digest, strict=True) if a != b]  # type: ignore[call-overload]
            told = f"{call.target}.{call.method}: a partial write in {changed} by {way.__name__}"
            self.findings.add(told, f"{call} raised {error!r}")
        self._digest = digest
        self._written += 1
        if self._written >= _FRESH_AFTER:
            await self.begin_anew()

    async def _alone(self, call: Call) -> None:
        await call.run()

    async def _inside(self, call: Call) -> None:
        async with self.timber.unit_of_work():
            await call.run()

    async def _caught_inside(self, call: Call) -> None:
        """Whoever goes on after an error commits nothing by half: the call counts as failed."""
        failed: ServiceError | None = None
        async with self.timber.unit_of_work():
            try:
                await call.run()
            except ServiceError as error:
                failed = error
        if failed is not None:
            raise failed


@asynccontextmanager
async def open_bench(url: str, rng: random.Random, cache_url: str | None) -> AsyncGenerator[Bench]:
    """On a database with nothing in it."""
    async with (
        Timber(
            url,
            registry=make_registry(),
            providers=PROVIDERS,
            cache_url=cache_url,
            audit_seal_every=None,
            pool_size=4,
            max_overflow=0,
        ) as timber,
        connected(url) as database,
    ):
        await timber.db.create_all_tables()
        bench = Bench(timber, database, rng)
        await bench.start()
        yield bench
