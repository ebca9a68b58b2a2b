"""Path by feature: on every way to a row each feature of its model has run, or the way is refused."""

from __future__ import annotations

import inspect

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.features.matrix.conftest import REGISTRY
from tests.features.matrix.paths import CHANGING, READING, REFUSED, WRITING
from tests.features.matrix.scene import BAD, Scene
from timber import FeatureBypassedError, Repository, Service, ValidationError
from timber.database.sessions import _SPEAKING
from timber.features.providers import row_features

FEATURES = ("encryption", "validation", "audit", "embedding", "recorded")


def test_the_model_declares_every_feature_that_there_is():
    assert set(FEATURES) == set(row_features(REGISTRY.model_config("Dossier")))


def test_every_public_verb_of_the_code_is_in_the_matrix():
    covered = {name.split(" ")[0] for name in (*WRITING, *CHANGING, *READING, *REFUSED)}
    verbs = {
        f"{cls.__name__}.{name}"
        for cls in (Repository, Service)
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith(("_", "before_", "after_")) and name not in NO_WAY_TO_ROWS
    }
    sessions = {f"session.{name}" for name in (*_SPEAKING, *session_verbs())}
    assert verbs | sessions == covered


NO_WAY_TO_ROWS = {"repository_of"}
"""It makes a repository, and touches no row."""


def session_verbs() -> set[str]:
    """What a session of SQLAlchemy can do with rows by itself, found among the names of this version."""
    return {name for name in ("add", "add_all") if hasattr(AsyncSession, name)}


@pytest.mark.parametrize("path", WRITING)
class TestAPathThatWritesValues:
    async def test_encrypts_them(self, scene: Scene, path: str) -> None:
        await WRITING[path](scene)
        stored = await written(scene)
        assert stored
        for row in stored:
            assert b"new-secret" not in row["secret"]
            assert row["secret_blind"]
        found = await scene.rows.find(secret="new-secret")
        assert len(found) == len(stored)

    async def test_holds_them_against_the_rules(self, scene: Scene, path: str) -> None:
        scene.values = dict(BAD)
        before = await scene.stored()
        with pytest.raises(ValidationError, match="level"):
            await WRITING[path](scene)
        assert await scene.stored() == before

    async def test_is_audited(self, scene: Scene, path: str) -> None:
        before = len(await scene.audited())
        await WRITING[path](scene)
        stored = await written(scene)
        new = (await scene.audited())[before:]
        assert [row["row_key"] for row in new] == [str(row["id"]) for row in stored]
        assert all({"secret", "level", "body"} <= set(row["fields"]) for row in new)

    async def test_has_them_embedded(self, scene: Scene, path: str) -> None:
        await WRITING[path](scene)
        assert await scene.pending() == {row["id"] for row in await written(scene)}

    async def test_runs_a_feature_of_ones_own(self, scene: Scene, path: str) -> None:
        before = await scene.recorded()
        await WRITING[path](scene)
        assert await scene.recorded() - before == len(await written(scene))


@pytest.mark.parametrize("path", CHANGING)
class TestAPathThatBringsNoValues:
    async def test_is_audited_and_runs_a_feature_of_ones_own(self, scene: Scene, path: str) -> None:
        run, rows = CHANGING[path]
        audited, recorded = len(await scene.audited()), await scene.recorded()
        await run(scene)
        assert len(await scene.audited()) - audited == rows
        assert await scene.recorded() - recorded == rows

    async def test_leaves_values_and_vectors_as_they_are(self, scene: Scene, path: str) -> None:
        await CHANGING[path][0](scene)
        assert await scene.pending() == set()
        left = {row["id"] for row in await scene.stored()}
        for dossier in await scene.rows.find(include_deleted=True):
            assert dossier.secret == "old-secret"
            left.remove(dossier.id)
        assert not left


@pytest.mark.parametrize("path", [*WRITING, *CHANGING])
async def test_a_path_that_writes_leaves_nothing_stale_in_the_cache(
    scene: Scene, path: str
) -> None:
    await scene.cached_reads()
    hits = scene.hits
    before = await scene.cached_reads()
    assert scene.hits > hits
    await (WRITING[path] if path in WRITING else CHANGING[path][0])(scene)
    assert await scene.cached_reads() == await scene.cached_reads(fresh=True)
    if path in WRITING:
        assert await scene.cached_reads() != before


@pytest.mark.parametrize("path", READING)
async def test_a_path_that_reads_gives_the_value_back(scene: Scene, path: str) -> None:
    assert await READING[path](scene) == ["old-secret"]


@pytest.mark.parametrize("path", REFUSED)
@pytest.mark.parametrize("whose", ["of the unit of work", "of its own"])
async def test_a_path_past_the_features_is_refused(scene: Scene, path: str, whose: str) -> None:
    before = await scene.stored()
    with pytest.raises(FeatureBypassedError, match="Dossier"):
        if whose == "of its own":
            async with scene.timber.db.get_session() as session:
                await REFUSED[path](scene, session)
                await session.commit()
        else:
            async with scene.timber.unit_of_work() as uow:
                await REFUSED[path](scene, uow.session)
    assert await scene.stored() == before


async def written(scene: Scene):
    """The rows that have been written by a path: they are at the level of the new values."""
    return [row for row in await scene.stored() if row["level"] == 2]
