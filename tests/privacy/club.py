"""A club with members whose data is in many tables, and pictures of what is stored of whom."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from sqlalchemy import make_url

from timber.database.manager import AsyncDatabaseManager
from timber.models.registry import ModelRegistry
from timber.repository import Repository

MODELS = Path(__file__).parent / "club.yaml"
REGISTRY = ModelRegistry(files=[MODELS])
LARGE = ModelRegistry(files=[MODELS, MODELS.with_name("diaries.yaml")])
"""The club with diaries, for which each member has a key."""
PEOPLE = ("user-ada", "user-bob")
_SPACE = UUID("5f0c2f5e-0000-4000-8000-000000000000")


def device_owner(person: str) -> UUID:
    return uuid5(_SPACE, person)


class Club:
    """Fills the tables for a person."""

    def __init__(self, db: AsyncDatabaseManager, registry: ModelRegistry = REGISTRY) -> None:
        self.db = db
        self.registry = registry

    def repository(self, model: str) -> Repository[Any]:
        return Repository(self.db, self.registry.get_model(model), self.registry.read_dto(model))

    async def add(self, model: str, **values: Any) -> Any:
        return await self.repository(model).insert(values)

    async def join(self, person: str, number: int = 1) -> dict[str, Any]:
        """A member with some rows in every table; what was made, by name."""
        member = await self.add("Member", user_id=person, email=f"{person}@example.com")
        made: dict[str, Any] = {"member": member}
        made["post"] = post = await self.add(
            "Post", user_id=person, member_id=member.id, title=f"{person} says hello"
        )
        made["reply"] = reply = await self.add(
            "Post", user_id=person, member_id=member.id, title="and again", reply_to=post.id
        )
        await self.repository("Post").delete(reply.id)
        made["comment"] = await self.add(
            "Comment", author=person, post_id=post.id, body=f"{person} on themselves"
        )
        made["anonymous"] = await self.add("Comment", post_id=post.id, body="who may that be")
        for comment in ("comment", "anonymous"):
            made[f"reaction to {comment}"] = await self.add(
                "Reaction", comment_id=made[comment].id, kind="like"
            )
        made["invoice"] = invoice = await self.add(
            "Invoice",
            customer=person,
            number=number,
            name=f"{person} Lovelace",
            address={"street": f"{person} Street"},
            email=f"{person}@example.com",
            amount=Decimal("12.50"),
        )
        made["line"] = await self.add(
            "InvoiceLine", invoice_id=invoice.id, text=f"for {person}", note="gift", price=12
        )
        tags = self.repository("Tag")
        tag = await tags.upsert({"word": "all"}, on=("word",))
        await self.repository("Post").add_links(post.id, "tags", [tag.id])
        return made


async def pictures(url: str, where: str = "true") -> dict[str, tuple[int, str]]:
    """The number of rows of every table and a digest of their content.

    Args:
        where: a condition on the text of a row.
    """
    connection = await asyncpg.connect(_dsn(url))
    try:
        names = await connection.fetch(
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        found = {}
        for (name,) in names:
            rows = await connection.fetch(
                f'SELECT row::text AS text FROM "{name}" AS row WHERE {where} ORDER BY 1'
            )
            texts = [row["text"] for row in rows]
            found[name] = len(rows), hashlib.sha256("\n".join(texts).encode()).hexdigest()
        return found
    finally:
        await connection.close()


async def naming(url: str, *words: str) -> dict[str, int]:
    """The tables in which a row holds one of the words anywhere, and how many do."""
    found: dict[str, int] = {}
    for word in words:
        condition = f"row::text LIKE '%{word}%'"
        for name, (number, _) in (await pictures(url, condition)).items():
            if number:
                found[name] = found.get(name, 0) + number
    return found


async def run_sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(_dsn(url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
