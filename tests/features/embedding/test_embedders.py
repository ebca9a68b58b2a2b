"""The embedders that the library brings along, and how settings choose one."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from timber import ModelRegistry, Timber
from timber.database.statements import Statement
from timber.errors import ConfigurationError, UnavailableError
from timber.features.embedding.choosing import embedder_of_settings, provider_of_settings
from timber.features.embedding.embedder import CheckedEmbedder
from timber.features.embedding.hashing import HashingEmbedder
from timber.features.embedding.openai import OpenAIEmbedder
from timber.features.embedding.provider import EmbeddingProvider
from timber.settings import TimberSettings

KEY = "the-key-canary"


class Service:
    """A service that speaks the protocol, and answers as it is told to."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[tuple[dict[str, Any], str | None]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.requests.append((asked, request.headers.get("Authorization")))
        if self.answers:
            answer = self.answers.pop(0)
            if answer == "drop":
                request.transport.close()
                return web.Response()
            if answer == "hang":
                await asyncio.sleep(30)
            return answer
        vectors = [
            {"index": index, "embedding": [float(len(text)), 1.0]}
            for index, text in enumerate(asked["input"])
        ]
        return web.json_response({"data": vectors[::-1]})


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    service = Service()
    application = web.Application()
    application.router.add_post("/v1/embeddings", service.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield service
    await runner.cleanup()


@pytest.fixture
async def openai(service: Service) -> AsyncGenerator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(service.url, "small", key=KEY, timeout=5.0)
    yield embedder
    await embedder.close()


async def test_a_service_is_asked_as_openai_is_and_may_answer_in_any_order(service, openai):
    assert await openai.embed(["a", "four"]) == [[1.0, 1.0], [4.0, 1.0]]
    asked, authorization = service.requests[0]
    assert asked == {"model": "small", "input": ["a", "four"]}
    assert authorization == f"Bearer {KEY}"
    assert KEY not in repr(openai)


@pytest.mark.parametrize(
    "answer",
    [web.Response(status=429, headers={"Retry-After": "0"}), web.Response(status=503), "drop"],
)
async def test_what_may_pass_is_asked_again(service, openai, answer):
    service.answers = [answer]
    assert await openai.embed(["a"]) == [[1.0, 1.0]]
    assert len(service.requests) == 2


async def test_a_service_is_asked_again_when_it_says(service, openai):
    service.answers = [web.Response(status=429, headers={"Retry-After": "0.7"})]
    began = asyncio.get_running_loop().time()
    await openai.embed(["a"])
    assert asyncio.get_running_loop().time() - began >= 0.7


FAILURES: list[tuple[Any, type[Exception], str]] = [
    (lambda: web.Response(status=500), UnavailableError, "status 500"),
    (lambda: web.Response(status=401, text=KEY), ConfigurationError, "status 401"),
    (lambda: web.Response(status=400, text="canary text"), ConfigurationError, "status 400"),
    (lambda: web.Response(text="<html>canary text"), ConfigurationError, "something else"),
    (lambda: web.json_response({"data": []}), ConfigurationError, "something else"),
    (lambda: web.json_response([1]), ConfigurationError, "something else"),
    (lambda: "drop", UnavailableError, "broke off"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=[message for *_, message in FAILURES])
async def test_a_failure_says_what_happened_and_shows_neither_key_nor_text(
    service, caplog, failure
):
    answer, kind, message = failure
    caplog.set_level(logging.DEBUG)
    service.answers = [answer() for _ in range(2)]
    embedder = OpenAIEmbedder(service.url, "small", key=KEY, timeout=5.0, attempts=2)
    with pytest.raises(kind, match=message) as caught:
        await embedder.embed(["canary text"])
    await embedder.close()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert KEY not in shown
    assert "canary text" not in shown.replace('embedder.embed(["canary text"])', "")


async def test_a_service_that_hangs_costs_its_timeout(service):
    service.answers = ["hang"]
    embedder = OpenAIEmbedder(service.url, "small", timeout=0.2)
    with pytest.raises(UnavailableError, match=r"no vectors within 0\.2 s"):
        await embedder.embed(["a"])
    await embedder.close()


async def test_a_service_out_of_reach_is_unavailable():
    embedder = OpenAIEmbedder("http://127.0.0.1:1/v1", "small", attempts=1)
    with pytest.raises(UnavailableError, match="broke off"):
        await embedder.embed(["a"])
    await embedder.close()


# Models in this process; what they come with is large, and stood in for here


class Array(list):
    def tolist(self) -> list[Any]:
        return list(self)


class StaticModel:
    loaded = 0

    @classmethod
    def from_pretrained(cls, name: str) -> StaticModel:
        if name == "missing":
            raise OSError("no such folder: canary")
        cls.loaded += 1
        return cls()

    def encode(self, texts: list[str]) -> Array:
        return Array([float(len(text)), 0.0] for text in texts)


class SentenceTransformer:
    def __init__(self, name: str, device: str | None = None) -> None:
        self.calls: list[int] = []

    def encode_document(self, texts: list[str], **options: Any) -> Array:
        assert options["normalize_embeddings"]
        self.calls.append(len(texts))
        return Array([1.0, 0.0] for _ in texts)

    def encode_query(self, texts: list[str], **options: Any) -> Array:
        return Array([0.0, 1.0] for _ in texts)


@pytest.fixture
def _stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, stand_in in (
        ("model2vec", StaticModel),
        ("sentence_transformers", SentenceTransformer),
    ):
        module = ModuleType(name)
        setattr(module, stand_in.__name__, stand_in)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("_stood_in_for")
async def test_a_static_model_is_loaded_once_and_named_after_its_folder():
    embedder: Any = embedder_of_settings(TimberSettings(embedder="model2vec:models/potion"))
    assert embedder.name == "potion"
    before = StaticModel.loaded
    assert await embedder.embed(["a", "four"]) == [[1.0, 0.0], [4.0, 0.0]]
    await embedder.prepare()
    await embedder.embed(["a"])
    assert StaticModel.loaded == before + 1
    await embedder.close()


@pytest.mark.usefixtures("_stood_in_for")
async def test_a_model_goes_through_texts_some_at_a_time_and_has_a_way_of_its_own_with_queries():
    from timber.features.embedding.sentence_transformers import SentenceTransformersEmbedder

    embedder = SentenceTransformersEmbedder("all-MiniLM", at_once=4)
    checked = CheckedEmbedder(embedder, model="Leaf", dimension=2, seconds=5.0)
    assert await checked.embed(["a"] * 10) == ["[1,0]"] * 10
    assert await checked.embed_query("a") == "[0,1]"
    assert embedder._local._model.calls == [4, 4, 2]
    await embedder.close()


@pytest.mark.usefixtures("_stood_in_for")
async def test_a_model_that_cannot_be_loaded_is_unavailable():
    embedder: Any = embedder_of_settings(TimberSettings(embedder="model2vec:missing"))
    checked = CheckedEmbedder(embedder, model="Leaf", dimension=2, seconds=5.0)
    with pytest.raises(UnavailableError, match="could not be loaded: OSError"):
        await checked.embed(["a"])
    await embedder.close()


async def test_loading_a_model_counts_against_no_deadline():
    class Slow(HashingEmbedder):
        async def prepare(self) -> None:
            await asyncio.sleep(0.2)

    checked = CheckedEmbedder(Slow(2), model="Leaf", dimension=2, seconds=0.1)
    assert len(await checked.embed(["a"])) == 1


async def test_an_embedder_that_takes_no_notice_of_being_cancelled_is_left_alone():
    class Stubborn(HashingEmbedder):
        async def embed(self, texts: Any) -> Any:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await asyncio.sleep(0.3)
                raise RuntimeError from None

    checked = CheckedEmbedder(Stubborn(2), model="Leaf", dimension=2, seconds=0.05)
    began = asyncio.get_running_loop().time()
    with pytest.raises(UnavailableError, match="no answer"):
        await checked.embed(["a"])
    assert asyncio.get_running_loop().time() - began < 0.25
    await asyncio.sleep(0.4)


# Settings


def test_no_setting_is_no_provider():
    assert provider_of_settings(TimberSettings()) is None


def test_a_service_is_named_with_its_model_and_its_key_is_a_secret():
    settings = TimberSettings(embedder="openai:https://host/v1#small", embedder_key=KEY)
    embedder = embedder_of_settings(settings)
    assert repr(embedder) == "<OpenAIEmbedder small at host>"
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model2vek:x", "did you mean 'model2vec'"),
        ("model2vec", "is no embedder"),
        ("openai:https://host/v1", "names no model"),
        ("openai:host#small", "begins with http"),
        ("hashing:many", "a dimension from 1 to 2000"),
        ("hashing:4000", "a dimension from 1 to 2000"),
    ],
)
def test_a_setting_that_names_no_embedder_says_so(setting, said):
    with pytest.raises(ConfigurationError, match=said):
        provider_of_settings(TimberSettings(embedder=setting))


def test_an_embedder_for_tests_is_refused_in_production():
    with pytest.raises(ConfigurationError, match="for tests only"):
        provider_of_settings(TimberSettings(embedder="hashing:64", env="production"))


def test_what_is_not_installed_says_how_it_comes(monkeypatch):
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(ConfigurationError, match=r"timber-async\[model2vec\]"):
        provider_of_settings(TimberSettings(embedder="model2vec:x"))


# Providers


def registry(embedder: str | None) -> ModelRegistry:
    from timber import ModelConfig

    embedding: dict[str, Any] = {"columns": ["text"], "dimension": 64}
    if embedder is not None:
        embedding["embedder"] = embedder
    column = {"name": "text", "type": "Text"}
    config = {"name": "Memo", "table": "memos", "columns": [column]}
    return ModelRegistry(models=[ModelConfig(**config, features={"embedding": embedding})])


@pytest.mark.parametrize(
    ("embedder", "embedders", "said"),
    [
        (None, {"a": HashingEmbedder(64), "b": HashingEmbedder(64)}, "does not say which"),
        ("small", {"smal": HashingEmbedder(64)}, "did you mean 'smal'"),
    ],
)
async def test_a_model_is_to_name_an_embedder_that_is_there(
    fresh_database_url, embedder, embedders, said
):
    provider = EmbeddingProvider(embedders)
    timber = Timber(fresh_database_url, registry=registry(embedder), providers=[provider])
    with pytest.raises(ConfigurationError, match=said):
        await timber.start()


async def test_a_model_whose_embedding_nobody_provides_does_not_start(fresh_database_url):
    timber = Timber(fresh_database_url, registry=registry(None))
    with pytest.raises(ConfigurationError, match="set embedder"):
        await timber.start()


async def test_a_server_without_pgvector_is_told_of_at_the_start(fresh_database_url, monkeypatch):
    from timber.features.embedding import provider as module

    monkeypatch.setattr(module, "_PGVECTOR", Statement("SELECT 1 WHERE false", label="test"))
    provider = EmbeddingProvider(HashingEmbedder(64))
    timber = Timber(fresh_database_url, registry=registry(None), providers=[provider])
    with pytest.raises(ConfigurationError, match="Memo declare an embedding, and this PostgreSQL"):
        await timber.start()


async def test_a_database_without_the_extension_is_told_of_at_the_search(fresh_database_url):
    provider = EmbeddingProvider(HashingEmbedder(64))
    given = {"registry": registry(None), "providers": [provider]}
    async with Timber(fresh_database_url, **given) as timber:
        with pytest.raises(ConfigurationError, match="no extension `vector`"):
            await timber.service("Memo").search("words", mode="semantic")


async def test_a_server_that_lacks_an_extension_is_told_of_when_tables_are_made(fresh_database_url):
    async with Timber(fresh_database_url) as timber:
        with pytest.raises(ConfigurationError, match="has no extension 'no_such_thing'"):
            await timber.db.write(Statement("CREATE EXTENSION no_such_thing", label="test"))
