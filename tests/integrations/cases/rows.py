"""Creating and getting rows of a configured model."""

from __future__ import annotations

from uuid import uuid4

from tests.harness.serving import Client, Reply
from tests.integrations.cases.errors import check_problem
from tests.integrations.cases.listed import case


async def made(web: Client, **values: object) -> Reply:
    """A new invoice."""
    reply = await web.post("/invoices", {"number": uuid4().hex[:20], "amount": "9.50", **values})
    assert reply.status == 201, reply.body
    return reply


@case
async def a_new_row_is_answered_with_its_place_and_version(web: Client) -> None:
    reply = await made(web, amount="99.50", due="2030-01-31", details={"a": [1]})
    row = reply.json
    assert reply.headers["location"] == f"/invoices/{row['id']}"
    assert reply.headers["etag"] == '"1"'
    assert row["amount"] == "99.50"
    assert row["due"] == "2030-01-31"
    assert row["details"] == {"a": [1]}
    assert row["state"] == "open"
    assert "version_token" not in row


@case
async def a_new_row_belongs_to_the_actor(web: Client) -> None:
    assert (await made(web)).json["user_id"] == web.user


@case
async def nobody_can_make_a_row_for_somebody_else(web: Client) -> None:
    reply = await web.post("/invoices", {"number": "1", "amount": 1, "user_id": "somebody-else"})
    check_problem(reply, 422)
    assert reply.fields == {"user_id"}


@case
async def a_new_row_of_nobody_is_refused(web: Client) -> None:
    check_problem(await web.post("/invoices", {"number": "1", "amount": 1}, user=None), 401)


@case
async def a_number_in_json_is_taken_as_it_is_written(web: Client) -> None:
    assert (await made(web, amount=0.1)).json["amount"] == "0.10"
    assert (await made(web, amount=7)).json["amount"] == "7.00"


@case
async def each_field_of_a_row_that_does_not_fit_is_named(web: Client) -> None:
    reply = await web.post("/invoices", {"amount": 0.001, "state": "lost", "due": "soon"})
    check_problem(reply, 422)
    assert reply.fields == {"number", "amount", "state", "due"}


@case
async def a_column_of_the_library_s_own_cannot_be_sent(web: Client) -> None:
    reply = await web.post("/invoices", {"number": "1", "amount": 1, "version": 7, "deleted_at": 1})
    check_problem(reply, 422)
    assert reply.fields == {"version", "deleted_at"}


@case
async def a_second_row_with_a_unique_value_is_a_conflict(web: Client) -> None:
    first = await made(web)
    reply = await web.post("/invoices", {"number": first.json["number"], "amount": 1})
    problem = check_problem(reply, 409)
    assert problem["constraint"] == "uq_invoices_number"
    assert first.json["number"].encode() not in reply.body


@case
async def a_row_made_again_under_its_own_key_is_a_conflict(web: Client) -> None:
    key = str(uuid4())
    await made(web, id=key)
    reply = await web.post("/invoices", {"id": key, "number": uuid4().hex[:20], "amount": 1})
    check_problem(reply, 409)


@case
async def a_row_is_found_by_its_key(web: Client) -> None:
    row = await made(web)
    found = await web.get(f"/invoices/{row.json['id']}")
    assert (found.status, found.json) == (200, row.json)
    assert found.headers["etag"] == '"1"'


@case
async def a_version_that_the_client_has_is_not_sent_again(web: Client) -> None:
    row = await made(web)
    path = f"/invoices/{row.json['id']}"
    for known in ('"1"', 'W/"1"', '"7", "1"', "*"):
        reply = await web.get(path, If_None_Match=known)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == '"1"'
    assert (await web.get(path, If_None_Match='"2"')).status == 200


@case
async def a_row_that_is_not_there_is_404(web: Client) -> None:
    check_problem(await web.get(f"/invoices/{uuid4()}"), 404)


@case
async def a_row_of_somebody_else_is_404(web: Client) -> None:
    row = await made(web)
    path = f"/invoices/{row.json['id']}"
    check_problem(await web.get(path, user="somebody-else"), 404)
    check_problem(await web.get(path, user=None), 401)


@case
async def a_key_that_is_none_is_refused(web: Client) -> None:
    check_problem(await web.get("/invoices/nonsense"), 422)


@case
async def a_model_without_owner_and_version_needs_neither(web: Client) -> None:
    code = uuid4().hex[:3].upper()
    reply = await web.post("/rates", {"code": code, "value": 1.25}, user=None)
    assert reply.status == 201
    assert reply.json == {"code": code, "value": 1.25}
    assert "etag" not in reply.headers


@case
async def a_verb_that_was_not_asked_for_is_not_there(web: Client) -> None:
    check_problem(await web.get("/rates/EUR"), 404)
