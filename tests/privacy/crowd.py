"""A member with very many rows, and another one with some, both stored by COPY."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.privacy.club import LARGE
from timber import Timber
from timber.database.statements import Statement
from timber.features.encryption import FileKeyRing

ADA = UUID("11111111-aaaa-4aaa-8aaa-111111111111")
BOB = UUID("22222222-bbbb-4bbb-8bbb-222222222222")


@dataclass(frozen=True, slots=True)
class Ground:
    """A database, and the folder with the keys for it."""

    url: str
    folder: Path

    def timber(self, **settings: Any) -> Timber:
        keys = self.folder / "keys.json"
        if not keys.exists():
            FileKeyRing(keys).add()
        return Timber(
            self.url,
            registry=LARGE,
            encryption_keys=keys,
            person_keys=self.folder / "persons",
            **settings,
        )


async def fill(timber: Timber, person: UUID, size: int, *, first_number: int = 0) -> int:
    """Rows in eight models and two association tables, about ``size`` of them in all; how many there are."""
    user, share = str(person), size // 100
    made: dict[str, list[Any]] = {}

    async def many(model: str, rows: Any) -> list[Any]:
        repository = timber.repository(model, timber.registry.read_dto(model))
        made[model] = await repository.insert_many(rows)
        return made[model]

    (member,) = await many("Member", [{"user_id": user, "email": f"{user}@example.com"}])
    posts = await many(
        "Post",
        [
            {"user_id": user, "member_id": member, "title": f"post {n} of {user}"}
            for n in range(12 * share)
        ],
    )
    everything = timber.repository("Post", timber.registry.read_dto("Post"))
    where = everything.where
    await everything.delete_where(where.id.in_(posts[::5]))
    await everything.update_where({"reply_to": posts[0]}, where.id.in_(posts[1::7]))
    comments = await many(
        "Comment",
        [
            {
                "author": user if n % 2 else None,
                "post_id": posts[n % len(posts)],
                "body": f"comment {n} " + "x" * 100,
            }
            for n in range(24 * share)
        ],
    )
    await many(
        "Reaction",
        [{"comment_id": comments[n % len(comments)], "kind": "like"} for n in range(24 * share)],
    )
    invoices = await many(
        "Invoice",
        [
            {
                "customer": user,
                "number": first_number + n,
                "name": f"name of {user}",
                "address": {"street": f"street {n}"},
                "email": f"{n}-{user}@example.com",
                "amount": Decimal(n),
            }
            for n in range(6 * share)
        ],
    )
    await many(
        "InvoiceLine",
        [
            {"invoice_id": invoices[n % len(invoices)], "text": user, "note": "n", "price": 1}
            for n in range(18 * share)
        ],
    )
    await many("Device", [{"owner_id": person, "token": b"t" * 20} for _ in range(4 * share)])
    await many(
        "Diary",
        [{"user_id": user, "entry": f"dear {user}", "mood": {"n": n}} for n in range(4 * share)],
    )
    links = await _links(timber, member, posts[: 8 * share])
    # As the server does by itself after a while.
    await timber.db.execute(Statement("ANALYZE", label="analyze"))
    return links + sum(map(len, made.values()))


async def _links(timber: Timber, member: UUID, posts: list[UUID]) -> int:
    repository = timber.repository("Tag", timber.registry.read_dto("Tag"))
    tag = await repository.upsert({"word": "all"}, on=("word",))
    await timber.db.copy("post_tags", ["post_id", "tag_id"], [(post, tag.id) for post in posts])
    await timber.db.copy("friends", ["one_id", "other_id"], [(member, member)])
    return len(posts) + 1
