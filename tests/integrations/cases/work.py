"""Services, units of work, actor, deadline and probes."""

from __future__ import annotations

import time
from uuid import uuid4

from tests.harness.serving import Client
from tests.integrations.cases.errors import check_problem
from tests.integrations.cases.listed import case


@case
async def a_service_is_called_and_its_dto_is_the_answer(web: Client) -> None:
    reply = await web.post("/sessions", {"session_type": "research", "symbol": "AAPL"})
    assert reply.status == 201
    assert reply.json["symbol"] == "AAPL"
    assert reply.json["user_id"] == web.user
    again = await web.get(f"/sessions/{reply.json['id']}")
    assert again.json == reply.json


@case
async def somebody_else_s_session_is_like_a_missing_one(web: Client) -> None:
    made = await web.post("/sessions", {"session_type": "research"})
    theirs = await web.get(f"/sessions/{made.json['id']}", user="somebody-else")
    none = await web.get(f"/sessions/{uuid4()}")
    check_problem(theirs, 404)
    check_problem(none, 404)
    assert theirs.json["detail"] == none.json["detail"]


@case
async def an_id_that_is_none_is_refused(web: Client) -> None:
    reply = await web.get("/sessions/nonsense")
    check_problem(reply, 422)
    assert reply.fields == {"session_id"}


@case
async def a_domain_s_rule_is_kept(web: Client) -> None:
    reply = await web.post("/sessions", {"session_type": "gardening"})
    check_problem(reply, 422)
    assert reply.fields == {"session_type"}


@case
async def a_unit_of_work_over_two_services_is_committed_before_the_answer(web: Client) -> None:
    made = await web.post("/work/well")
    assert made.status == 201
    found = await web.get(f"/sessions/{made.json['id']}")
    assert found.status == 200


@case
async def a_commit_that_fails_is_no_success(web: Client) -> None:
    reply = await web.post("/work/commit%20fails")
    problem = check_problem(reply, 409)
    assert problem["constraint"] == "only_at_commit"
    assert problem["outcome"] == "rolled_back"


@case
async def an_error_in_a_unit_of_work_leaves_nothing_behind(web: Client) -> None:
    problem = check_problem(await web.post("/work/error"), 422)
    assert problem["outcome"] == "rolled_back"
    lines = await web.get("/export")
    assert lines.body == b""


@case
async def an_error_that_sent_nothing_and_was_caught_does_no_harm(web: Client) -> None:
    assert (await web.post("/work/caught")).status == 201


@case
async def the_actor_is_the_header_s(web: Client) -> None:
    assert (await web.get("/me")).json == {"actor": web.user}


@case
async def without_the_header_nobody_acts(web: Client) -> None:
    assert (await web.get("/me", user=None)).json == {"actor": None}
    check_problem(await web.post("/sessions", {"session_type": "research"}, user=None), 401)


@case
async def an_empty_header_is_nobody(web: Client) -> None:
    assert (await web.get("/me", user=None, X_User_Id="")).json == {"actor": None}


@case
async def an_actor_that_is_too_long_is_refused(web: Client) -> None:
    reply = await web.get("/me", user="a" * 256)
    check_problem(reply, 422)
    assert reply.fields == {"X-User-Id"}


@case
async def one_request_s_actor_is_not_the_next_one_s(web: Client) -> None:
    await web.get("/me", user="one")
    assert (await web.get("/me", user="two")).json == {"actor": "two"}
    assert (await web.get("/me", user=None)).json == {"actor": None}


@case
async def a_request_that_takes_longer_than_it_may_is_504(web: Client) -> None:
    began = time.monotonic()
    reply = await web.get("/slow?seconds=20", X_Request_Timeout="0.2")
    problem = check_problem(reply, 504)
    assert problem["type"] == "urn:timber:problem:query-timeout"
    assert problem["outcome"] == "rolled_back"
    assert time.monotonic() - began < 10


@case
async def a_request_within_its_deadline_is_answered(web: Client) -> None:
    assert (await web.get("/slow?seconds=0.01", X_Request_Timeout="15")).status == 200


@case
async def a_deadline_that_is_no_number_is_refused(web: Client) -> None:
    for nonsense in ("soon", "0", "-1", "nan"):
        reply = await web.get("/me", X_Request_Timeout=nonsense)
        check_problem(reply, 422)
        assert reply.fields == {"X-Request-Timeout"}


@case
async def nobody_gets_longer_than_the_longest_deadline(web: Client) -> None:
    assert (await web.get("/me", X_Request_Timeout="1e300")).status == 200
    assert (await web.get("/me", X_Request_Timeout="inf")).status == 200


@case
async def the_process_lives(web: Client) -> None:
    reply = await web.get("/livez", user=None)
    assert (reply.status, reply.json) == (200, {"status": "alive"})


@case
async def the_service_is_ready(web: Client) -> None:
    reply = await web.get("/readyz", user=None)
    assert reply.status == 200
    assert reply.json == {"status": "ready", "checks": {"database": "up", "cache": "off"}}
