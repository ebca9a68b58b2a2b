"""Tasks, projects and remarks behind a cache, and everything that can be asked about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from timber import Repository, Timber
from timber.dto import DTO
from timber.models import ModelRegistry

REGISTRY = ModelRegistry(files=[Path(__file__).parent / "models.yaml"])
TaskDTO: Any = REGISTRY.read_dto("Task")
ProjectDTO: Any = REGISTRY.read_dto("Project")
RemarkDTO: Any = REGISTRY.read_dto("Remark")
USERS = ("ann", "bob")
STATES = ("open", "doing", "done")


class Brief(DTO):
    """Less of a task."""

    id: UUID
    status: str
    details: dict[str, Any]


class LabelName(DTO):
    name: str


class Labelled(DTO):
    """A task with what is nested in it."""

    id: UUID
    number: int
    labels: list[LabelName]


class House:
    """One process: a Timber with a cache, and its repositories."""

    def __init__(self, timber: Timber) -> None:
        self.timber = timber
        self.tasks: Repository[Any] = timber.repository("Task", TaskDTO)
        self.projects: Repository[Any] = timber.repository("Project", ProjectDTO)
        self.remarks: Repository[Any] = timber.repository("Remark", RemarkDTO)

    def counts(self, level: str, model: str = "Task") -> dict[str, int]:
        levels: dict[str, Any] = self.timber.cache.stats()
        found: dict[str, int] = levels[level][model]
        return found

    async def everything(
        self, tasks: list[UUID], projects: list[UUID], *, fresh: bool = False
    ) -> dict[str, Any]:
        """The answers to every question that may come from the cache."""
        found: dict[str, Any] = {}
        for key in tasks:
            found[f"task {key}"] = await self.tasks.get_or_none(key, fresh=fresh)
            found[f"any {key}"] = await self.tasks.get_or_none(
                key, include_deleted=True, into=Brief, fresh=fresh
            )
            found[f"remarks of {key}"] = await self.remarks.find(task_id=key, fresh=fresh)
        for key in projects:
            found[f"project {key}"] = await self.projects.get_or_none(key, fresh=fresh)
            found[f"tasks of {key}"] = await self.tasks.find(project_id=key, fresh=fresh)
        found["many"] = await self.tasks.get_many(tasks, fresh=fresh)
        for user in USERS:
            found |= await self._of_user(user, fresh=fresh)
        for status in STATES:
            found[f"all {status}"] = await self.tasks.find(status=status, fresh=fresh)
        found["here"] = await self.tasks.count(place="here", fresh=fresh)
        return found

    async def _of_user(self, user: str, *, fresh: bool) -> dict[str, Any]:
        tasks = self.tasks
        where = tasks.where
        return {
            f"{user} projects": await self.projects.find(user_id=user, fresh=fresh),
            f"{user} list": await tasks.find(user_id=user, order_by="number", fresh=fresh),
            f"{user} brief": await tasks.find(owner=user, into=Brief, limit=3, fresh=fresh),
            f"{user} first": await tasks.find_one(user_id=user, order_by="-number", fresh=fresh),
            f"{user} page": await tasks.page(user_id=user, per_page=2, page=1, fresh=fresh),
            f"{user} scroll": await tasks.scroll(user_id=user, limit=2, fresh=fresh),
            f"{user} count": await tasks.count(user_id=user, include_deleted=True, fresh=fresh),
            f"{user} by status": await tasks.count_by("status", user_id=user, fresh=fresh),
            f"{user} by project": await tasks.count_by("project_id", owner=user, fresh=fresh),
            f"{user} by day": await tasks.count_by_time(
                "created_at", "day", user_id=user, fresh=fresh
            ),
            f"{user} exists": await tasks.exists(where.number > 3, user_id=user, fresh=fresh),
        }


__all__ = ["REGISTRY", "Brief", "House", "Labelled"]
