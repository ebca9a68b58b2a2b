"""Projects that migrate: a folder of models, a folder of migrations and a database."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timber.database.manager import AsyncDatabaseManager
from timber.database.migrations import commands
from timber.database.migrations.applying import Patience
from timber.models.registry import ModelRegistry
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from timber.database.migrations.commands import Applied, Written

HERE = Path(__file__).parent
MODELS = HERE / "project" / "models"
VECTOR = HERE / "project" / "vector"

BEFORE = (HERE / "changes" / "before.yaml").read_text(encoding="utf-8")
AFTER = (HERE / "changes" / "after.yaml").read_text(encoding="utf-8")

IMPATIENT = Patience(lock_timeout=0.2, attempts=2, others=20)


class Project:
    """One service with its models, migrations and database, and what its developer types."""

    def __init__(self, root: Path, url: str, *dirs: Path, built_in: bool = True) -> None:
        self.directory = root / "migrations"
        self.url = url
        self.built_in = built_in
        self.settings = TimberSettings(database_url=url, model_config_dirs=dirs or (root,))

    def on(self, url: str) -> Project:
        """The same project with another database."""
        other = Project(self.directory.parent, url, built_in=self.built_in)
        other.settings = self.settings.model_copy(update={"database_url": url})
        return other

    async def init(self, message: str | None = "initial") -> Project:
        """Begin with migrations, and write the first one."""
        commands.init(self.directory)
        if not self.built_in:
            env = self.directory / "env.py"
            text = env.read_text(encoding="utf-8")
            env.write_text(text.replace("# classes=[", "built_in=False,  # classes=["))
        if message is not None:
            await self.new(message)
        return self

    def write(self, models: str) -> None:
        """Say what the models are now."""
        folder = self.settings.model_config_dirs[0]
        (folder / "models.yaml").write_text(models, encoding="utf-8")

    async def new(self, message: str, **options: Any) -> list[Written]:
        return await self._do(commands.new, message=message, **options)

    async def up(self, revision: str = "head", patience: Patience = IMPATIENT) -> Applied:
        return await self._do(commands.up, revision, patience=patience)

    async def down(self, revision: str = "-1") -> Applied:
        return await self._do(commands.down, revision, patience=IMPATIENT)

    async def check(self) -> list[str]:
        return await self._do(commands.check)

    async def sql(self, revisions: str = "head") -> str:
        return await self._do(commands.sql, revisions)

    async def _do(self, command: Any, *arguments: Any, **options: Any) -> Any:
        work = partial(command, self.directory, *arguments, settings=self.settings, **options)
        return await asyncio.to_thread(work)

    def registry(self) -> ModelRegistry:
        return ModelRegistry(dirs=self.settings.model_config_dirs, built_in=self.built_in)

    async def create_all(self, url: str) -> None:
        """Make the tables without migrations."""
        db = AsyncDatabaseManager(url, metadata=self.registry().metadata)
        try:
            await db.create_all_tables()
        finally:
            await db.dispose()

    def text(self) -> str:
        """All migrations, one after the other."""
        files = sorted((self.directory / "versions").glob("*.py"))
        return "\n".join(file.read_text(encoding="utf-8") for file in files)
