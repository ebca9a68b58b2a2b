"""Every way to the rows of a model: those that write values, those that write none, those that read, and those refused.

The names are those of the code: ``test_matrix`` holds them against the public methods, so that a new one is missed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from tests.features.matrix.scene import Scene
from timber import DTO
from timber.repository.scheduling import Rounds

Path = Callable[[Scene], Awaitable[object]]

WRITING: dict[str, Path] = {
    "Repository.insert": lambda s: s.rows.insert(s.new()),
    "Repository.insert_many": lambda s: s.rows.insert_many([s.new(3), s.new(4)]),
    "Repository.insert_many_returning": lambda s: s.rows.insert_many_returning([s.new(3)]),
    "Repository.update": lambda s: s.rows.update(s.keys[0], s.values),
    "Repository.update_where": lambda s: s.rows.update_where(s.values, number=1),
    "Repository.upsert": lambda s: s.rows.upsert(s.new(3), on="number"),
    "Repository.upsert of a row that is there": lambda s: s.rows.upsert(s.new(1), on="number"),
    "Service.create": lambda s: s.service.create(s.new()),
    "Service.create_many": lambda s: s.service.create_many([s.new(3), s.new(4)]),
    "Service.update": lambda s: s.service.update(s.keys[0], s.values),
    "Service.upsert": lambda s: s.service.upsert(s.new(3), on="number"),
    "Service.upsert of a row that is there": lambda s: s.service.upsert(s.new(1), on="number"),
}
"""They store the values of the scene in a new row or in the first one."""


async def _finish(scene: Scene) -> None:
    rounds = Rounds("last_round", "next_round", "every")
    await scene.rows.finish([scene.keys[0]], at=datetime.now(UTC), rounds=rounds)


async def _restore(scene: Scene) -> None:
    await scene.rows.delete(scene.keys[0])
    await scene.rows.restore(scene.keys[0])


async def _service_restore(scene: Scene) -> None:
    await scene.service.delete(scene.keys[0])
    await scene.service.restore(scene.keys[0])


async def _remove_links(scene: Scene) -> None:
    await scene.rows.add_links(scene.keys[0], "shelves", [scene.shelf])
    await scene.rows.remove_links(scene.keys[0], "shelves", [scene.shelf])


CHANGING: dict[str, tuple[Path, int]] = {
    "Repository.delete": (lambda s: s.rows.delete(s.keys[0]), 1),
    "Repository.delete hard": (lambda s: s.rows.delete(s.keys[0], hard=True), 1),
    "Repository.delete_where": (lambda s: s.rows.delete_where(user_id="u"), 2),
    "Repository.restore": (_restore, 2),
    "Repository.trim": (lambda s: s.rows.trim(number=1), 1),
    "Repository.claim": (lambda s: s.rows.claim(limit=1, lease=timedelta(seconds=9)), 1),
    "Repository.release": (lambda s: s.rows.release(s.keys[0]), 1),
    "Repository.finish": (_finish, 1),
    "Repository.add_links": (lambda s: s.rows.add_links(s.keys[0], "shelves", [s.shelf]), 1),
    "Repository.remove_links": (_remove_links, 2),
    "Repository.set_links": (lambda s: s.rows.set_links(s.keys[0], "shelves", [s.shelf]), 1),
    "Service.delete": (lambda s: s.service.delete(s.keys[0]), 1),
    "Service.restore": (_service_restore, 2),
}
"""They bring no values of a caller; with the number of rows that they change."""


class Secret(DTO):
    secret: str


class Leaf(DTO):
    text: str


class WithLeaves(DTO):
    secret: str
    pages: list[Leaf]


def _each(items: object) -> list[str]:
    return [item.secret for item in items]  # type: ignore[attr-defined]


async def _stream(scene: Scene) -> list[str]:
    async with scene.rows.stream(number=1) as rows:
        return [row.secret async for row in rows]


async def _service_stream(scene: Scene) -> list[str]:
    async with scene.service.stream(number=1) as rows:
        return [row.secret async for row in rows]


async def _for_update(scene: Scene) -> list[str]:
    async with scene.timber.unit_of_work():
        return [(await scene.rows.for_update(scene.keys[0])).secret]


async def _nested(scene: Scene) -> list[str]:
    leaves = scene.timber.repository("Leaf", scene.timber.registry.read_dto("Leaf"))
    await leaves.insert({"dossier_id": scene.keys[0], "text": "old-secret"})
    found = await scene.rows.get(scene.keys[0], into=WithLeaves)
    assert found.secret == "old-secret"
    return [leaf.text for leaf in found.pages]


async def _subscribe(scene: Scene) -> list[str]:
    async with scene.rows.subscribe("u") as feed:
        await scene.rows.insert({"number": 5, "user_id": "u", "secret": "old-secret"})
        return [(await anext(feed)).secret]


async def _search(scene: Scene, mode: str) -> list[str]:
    if mode != "keyword":
        await scene.embed()
    hits = await scene.rows.search("old", number=1, mode=mode)
    return [hit.item.secret for hit in hits]


async def _service_search(scene: Scene) -> list[str]:
    hits = await scene.service.search("old", number=1, mode="keyword")
    return [hit.item.secret for hit in hits]


async def _page(scene: Scene) -> list[str]:
    return _each((await scene.rows.page(number=1)).items)


async def _scroll(scene: Scene) -> list[str]:
    return _each((await scene.rows.scroll(number=1)).items)


async def _service_page(scene: Scene) -> list[str]:
    return _each((await scene.service.page(number=1)).items)


async def _found(scene: Scene, count: Awaitable[int]) -> list[str]:
    """A count finds the two rows by the value that they hold in another form."""
    return ["old-secret"] if await count else []


READING: dict[str, Callable[[Scene], Awaitable[list[str]]]] = {
    "Repository.get": lambda s: _one(s.rows.get(s.keys[0])),
    "Repository.get into another DTO": lambda s: _one(s.rows.get(s.keys[0], into=Secret)),
    "Repository.get with nested rows": _nested,
    "Repository.get_or_none": lambda s: _one(s.rows.get_or_none(s.keys[0])),
    "Repository.get_many": lambda s: _many(s.rows.get_many(s.keys[:1])),
    "Repository.find": lambda s: _many(s.rows.find(number=1)),
    "Repository.find_one": lambda s: _one(s.rows.find_one(number=1)),
    "Repository.page": _page,
    "Repository.scroll": _scroll,
    "Repository.stream": _stream,
    "Repository.for_update": _for_update,
    "Repository.subscribe": _subscribe,
    "Repository.search": lambda s: _search(s, "keyword"),
    "Repository.search by meaning": lambda s: _search(s, "semantic"),
    "Repository.search by both": lambda s: _search(s, "hybrid"),
    "Repository.count": lambda s: _found(s, s.rows.count(secret="old-secret")),
    "Repository.exists": lambda s: _found(s, s.rows.exists(secret="old-secret")),
    "Repository.count_by": lambda s: _grouped(s.rows.count_by("number", secret="old-secret")),
    "Repository.count_by_time": lambda s: _grouped(
        s.rows.count_by_time("created_at", "day", secret="old-secret")
    ),
    "Service.get": lambda s: _one(s.service.get(s.keys[0])),
    "Service.get_or_none": lambda s: _one(s.service.get_or_none(s.keys[0])),
    "Service.list": lambda s: _many(s.service.list(number=1)),
    "Service.page": _service_page,
    "Service.stream": _service_stream,
    "Service.search": _service_search,
    "Service.count": lambda s: _found(s, s.service.count(secret="old-secret")),
    "Service.exists": lambda s: _found(s, s.service.exists(secret="old-secret")),
}
"""They give the secret of the first row, or find it by that."""


async def _one(read: Awaitable[object]) -> list[str]:
    return _each([await read])


async def _many(read: Awaitable[object]) -> list[str]:
    return _each(await read)


async def _grouped(count: Awaitable[dict[object, int]]) -> list[str]:
    return ["old-secret"] if sum((await count).values()) == 2 else []


def _rows(scene: Scene) -> type:
    return scene.timber.registry.get_model("Dossier")


def _object(scene: Scene) -> object:
    return _rows(scene)(id=scene.keys[0], number=1, user_id="u", level=5)


async def _added(scene: Scene, session: object, *, all_: bool = False) -> None:
    new = _rows(scene)(number=9, user_id="u")
    session.add_all([new]) if all_ else session.add(new)
    await session.flush()


async def _refreshed(scene: Scene, session: object) -> None:
    known = _object(scene)
    sa.orm.make_transient_to_detached(known)
    session.add(known)
    await session.refresh(known)


async def _deleted(scene: Scene, session: object, *, all_: bool = False) -> None:
    known = _object(scene)
    sa.orm.make_transient_to_detached(known)
    session.add(known)
    await (session.delete_all([known]) if all_ else session.delete(known))
    await session.flush()


async def _by_connection(scene: Scene, session: object) -> None:
    connection = await session.connection()
    await connection.execute(sa.update(_rows(scene).__table__).values(level=5))


REFUSED: dict[str, Callable[[Scene, object], Awaitable[object]]] = {
    "session.execute of a statement for the ORM": lambda s, session: session.execute(
        sa.update(_rows(s)).values(level=5)
    ),
    "session.execute of a statement for the table": lambda s, session: session.execute(
        sa.delete(_rows(s).__table__)
    ),
    "session.scalar": lambda s, session: session.scalar(sa.select(_rows(s).secret)),
    "session.scalars": lambda s, session: session.scalars(sa.select(_rows(s))),
    "session.stream": lambda s, session: session.stream(sa.select(_rows(s))),
    "session.stream_scalars": lambda s, session: session.stream_scalars(sa.select(_rows(s))),
    "session.get": lambda s, session: session.get(_rows(s), s.keys[0]),
    "session.get_one": lambda s, session: session.get_one(_rows(s), s.keys[0]),
    "session.refresh": _refreshed,
    "session.delete": _deleted,
    "session.delete_all": lambda s, session: _deleted(s, session, all_=True),
    "session.merge": lambda s, session: session.merge(_object(s)),
    "session.merge_all": lambda s, session: session.merge_all([_object(s)]),
    "session.add": _added,
    "session.add_all": lambda s, session: _added(s, session, all_=True),
    "session.flush": _added,
    "session.run_sync": lambda s, session: session.run_sync(
        lambda sync: sync.execute(sa.insert(_rows(s)).values(number=9))
    ),
    "session.connection": _by_connection,
}
"""They would go past the features: each is called with the session of a unit of work, and with one of its own."""
