"""The example service does what its page says, in both frameworks."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

from tests.examples.conftest import MODELS
from tests.harness.serving import Client, Reply, serve_aiohttp, serve_asgi
from tests.integrations.cases.errors import check_problem
from timber import Timber


async def begun(web: Client, **more: object) -> Reply:
    new = {"symbol": "AAPL", "question": "Is it worth its price?", **more}
    reply = await web.post("/analyses", new)
    assert reply.status == 201, reply.body
    return reply


async def test_an_analysis_is_begun_filled_and_concluded(web: Client):
    analysis = (await begun(web, watch_above=250)).json
    path = f"/analyses/{analysis['session']['id']}"
    assert [item["research_type"] for item in analysis["findings"]] == ["question"]
    finding = {"kind": "ratio", "content": {"pe": 29.1, "of": ["a", None]}, "title": "Ratios"}
    assert (await web.post(f"{path}/findings", finding)).json["content"] == finding["content"]
    done = await web.post(f"{path}/conclusion", {"verdict": "hold"})
    assert done.status == 200
    assert done.json["session"]["status"] == "completed"
    assert done.json["session"]["metadata"]["result"] == {"verdict": "hold"}
    assert len(done.json["findings"]) == 2
    assert (await web.get(path)).json == done.json
    [tracker] = (await web.get("/trackers")).json["items"]
    assert tracker["status"] == "completed"
    [message] = (await web.get("/notifications")).json["items"]
    assert message["title"] == "Research on AAPL is complete"


async def test_an_analysis_is_concluded_once_and_a_second_time_changes_nothing(web: Client):
    path = f"/analyses/{(await begun(web)).json['session']['id']}"
    assert (await web.post(f"{path}/conclusion", {"verdict": "hold"})).status == 200
    check_problem(await web.post(f"{path}/conclusion", {"verdict": "sell"}), 422)
    assert (await web.get("/notifications/unread")).json == {"unread": 1}


async def test_analyses_are_listed_page_by_page(web: Client):
    for symbol in ("AAPL", "IBM", "MSFT"):
        await begun(web, symbol=symbol)
    page = (await web.get("/analyses?limit=2&status=active")).json
    assert [item["symbol"] for item in page["items"]] == ["MSFT", "IBM"]
    rest = (await web.get(f"/analyses?limit=2&status=active&cursor={page['next_cursor']}")).json
    assert [item["symbol"] for item in rest["items"]] == ["AAPL"]
    check_problem(await web.get("/analyses?limit=101"), 422)
    check_problem(await web.get("/analyses?status=lost"), 422)


async def test_what_is_somebody_else_s_is_not_there(web: Client):
    path = f"/analyses/{(await begun(web)).json['session']['id']}"
    for reply in (
        await web.get(path, user="somebody-else"),
        await web.post(f"{path}/findings", {"kind": "a", "content": {}}, user="somebody-else"),
        await web.post(f"{path}/conclusion", {"verdict": "x"}, user="somebody-else"),
        await web.delete(path, user="somebody-else"),
    ):
        check_problem(reply, 404)
    check_problem(await web.get(path, user=None), 401)


async def test_a_deleted_analysis_is_gone(web: Client):
    path = f"/analyses/{(await begun(web)).json['session']['id']}"
    assert (await web.delete(path)).status == 204
    check_problem(await web.get(path), 404)


async def test_findings_are_searched_and_exported(web: Client):
    await begun(web, question="Are copper mines profitable?")
    await begun(web, question="And silver?")
    [hit] = (await web.get("/search?q=copper")).json
    assert "copper" in hit["item"]["title"]
    assert hit["score"] > 0
    lines = (await web.get("/export")).body.splitlines()
    assert len([orjson.loads(line) for line in lines]) == 2


async def test_a_limit_that_is_no_number_is_refused(web: Client):
    new = {"symbol": "AAPL", "question": "Is it worth its price?", "watch_above": True}
    assert (await web.post("/analyses", new)).status == 422


async def test_a_price_above_the_limit_is_told_live(web: Client):
    analysis = await begun(web, watch_above=250)
    [tracker] = (await web.get("/trackers")).json["items"]
    assert tracker["goal_id"] == analysis.json["session"]["id"]
    path = f"/trackers/{tracker['id']}/checks"
    headers = {"X-User-Id": web.user}
    async with asyncio.timeout(20):
        async with web.session.get(f"{web.address}/notifications/live", headers=headers) as live:
            assert not (await web.post(path, {"price": 249.5})).json["triggered"]
            assert (await web.post(path, {"price": 251})).json["triggered"]
            async for line in live.content:
                if line.startswith(b"data:"):
                    message = orjson.loads(line.removeprefix(b"data:"))
                    break
    assert message["content"] == "The tracker of AAPL has triggered: 251 is above 250"
    read = await web.post(f"/notifications/{message['id']}/read")
    assert read.json["is_read"]
    assert (await web.get("/notifications/unread")).json == {"unread": 0}


async def test_figures_are_computed_once(web: Client):
    replies = await asyncio.gather(*(web.get("/ratios/AAPL") for _ in range(8)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    check_problem(await web.get("/ratios/nonsense"), 422)


async def test_positions_are_kept_by_the_configured_model(web: Client):
    made = await web.post("/positions", {"symbol": "AAPL", "quantity": 3.5})
    assert made.status == 201
    assert made.json["quantity"] == "3.5000"
    again = await web.post("/positions", {"symbol": "AAPL", "quantity": 1})
    assert check_problem(again, 409)["constraint"] == "uq_positions_user_id_symbol"
    path = made.headers["location"]
    assert (await web.patch(path, {"note": "long"}, If_Match='"1"')).status == 200
    check_problem(await web.patch(path, {"note": "short"}, If_Match='"1"'), 412)
    assert len((await web.get("/positions?quantity__gt=3")).json["items"]) == 1


async def test_the_service_says_how_it_is(web: Client):
    assert (await web.get("/livez")).status == 200
    assert (await web.get("/readyz")).json["status"] == "ready"


@pytest.mark.parametrize("framework", ["fastapi", "aiohttp"])
async def test_with_a_cache_an_analysis_is_read_from_it_and_never_out_of_date(
    example_database_url: str, session: aiohttp.ClientSession, framework: str
):
    from research_api import aiohttp_app, app

    timber = Timber(example_database_url, model_config_dirs=[MODELS], cache_url="memory")
    with (
        serve_asgi(app.create_app(timber))
        if framework == "fastapi"
        else serve_aiohttp(aiohttp_app.create_app(timber=timber))
    ) as address:
        web = Client(session, address, f"cached-{framework}")
        path = f"/analyses/{(await begun(web)).json['session']['id']}"
        for _ in range(3):
            assert (await web.get(path)).json["session"]["status"] == "active"
        hits = timber.cache.stats()["l1"]["Session"]["hits"]
        assert hits > 0
        await web.post(f"{path}/conclusion", {"verdict": "hold"})
        assert (await web.get(path)).json["session"]["status"] == "completed"
        assert (await web.get(f"{path}?fresh=true")).json["session"]["status"] == "completed"
