"""JSON lines and server-sent events."""

from __future__ import annotations

import asyncio

import orjson

from tests.harness.serving import Client
from tests.integrations.cases.errors import check_problem
from tests.integrations.cases.listed import case


async def events(web: Client, count: int, last: str | None = None) -> list[dict[str, str]]:
    """So many notifications off the wire; each with the id behind it."""
    headers = {"X-User-Id": web.user} | ({"Last-Event-ID": last} if last else {})
    found: list[dict[str, str]] = []
    async with asyncio.timeout(20), web.session.get(web.address + "/live", headers=headers) as live:
        assert live.status == 200
        assert live.headers["Content-Type"].startswith("text/event-stream")
        assert live.headers["Cache-Control"] == "no-cache"
        lines: dict[str, str] = {}
        async for line in live.content:
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(":")
                lines[name] = value.strip()
                continue
            if "id" not in lines:  # a heartbeat
                lines = {}
                continue
            found.append(lines)
            lines = {}
            if len(found) > count:
                break
            if len(found) == 1 and last is None:
                await web.post("/notifications")
    return found


@case
async def all_rows_come_as_lines(web: Client) -> None:
    for _ in range(12):  # more than one batch of them
        assert (await web.post("/work/well")).status == 201
    reply = await web.get("/export")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/jsonl")
    rows = [orjson.loads(line) for line in reply.body.splitlines()]
    assert len({row["id"] for row in rows}) == 12
    assert {row["user_id"] for row in rows} == {web.user}


@case
async def no_rows_are_no_lines(web: Client) -> None:
    reply = await web.get("/export")
    assert (reply.status, reply.body) == (200, b"")


@case
async def a_stream_that_cannot_begin_is_a_problem(web: Client) -> None:
    reply = await web.get("/export?order_by=colour")
    check_problem(reply, 422)
    assert reply.fields == {"order_by"}


@case
async def a_stream_s_deadline_ends_when_it_begins(web: Client) -> None:
    async with asyncio.timeout(20):
        headers = {"X-User-Id": web.user, "X-Request-Timeout": "0.3"}
        async with web.session.get(web.address + "/live", headers=headers) as live:
            await asyncio.sleep(0.6)
            await web.post("/notifications")
            async for line in live.content:
                if line.startswith(b"data:"):
                    return
            raise AssertionError("the stream ended before the event came")


@case
async def notifications_come_live(web: Client) -> None:
    begun, first = await events(web, 1)
    assert begun["retry"] == "1000"
    assert first["event"] == "notification"
    assert orjson.loads(first["data"])["user_id"] == web.user


@case
async def whoever_comes_back_misses_nothing_and_gets_nothing_twice(web: Client) -> None:
    _, first = await events(web, 1)
    missed = [(await web.post("/notifications")).json["id"] for _ in range(2)]
    came = (await events(web, 2, last=first["id"]))[1:]
    assert [orjson.loads(event["data"])["id"] for event in came] == missed


@case
async def a_cursor_of_somebody_else_s_events_is_refused(web: Client) -> None:
    begun, _ = await events(web, 1)
    reply = await web.get("/live", user="somebody-else", Last_Event_ID=begun["id"])
    check_problem(reply, 422)
