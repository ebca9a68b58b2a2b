"""Updating and deleting rows of a configured model."""

from __future__ import annotations

from uuid import uuid4

from tests.harness.serving import Client
from tests.integrations.cases.errors import check_problem
from tests.integrations.cases.listed import case
from tests.integrations.cases.rows import made


async def new_path(web: Client) -> str:
    return f"/invoices/{(await made(web)).json['id']}"


@case
async def what_is_sent_is_changed_and_the_rest_stays(web: Client) -> None:
    path = await new_path(web)
    reply = await web.patch(path, {"state": "paid"})
    assert reply.status == 200
    assert (reply.json["state"], reply.json["amount"]) == ("paid", "9.50")
    assert reply.headers["etag"] == '"2"'
    assert (await web.get(path)).json == reply.json


@case
async def null_empties_what_may_be_empty_and_nothing_else(web: Client) -> None:
    path = await new_path(web)
    assert (await web.patch(path, {"due": "2030-01-01"})).json["due"] == "2030-01-01"
    assert (await web.patch(path, {"due": None})).json["due"] is None
    reply = await web.patch(path, {"amount": None})
    check_problem(reply, 422)
    assert reply.fields == {"amount"}


@case
async def no_changes_change_nothing(web: Client) -> None:
    path = await new_path(web)
    reply = await web.patch(path, {})
    assert (reply.status, reply.json["version"]) == (200, 1)


@case
async def a_change_to_the_version_at_hand_is_made(web: Client) -> None:
    path = await new_path(web)
    for tags in ('"1"', '"7", "2"', "*"):
        assert (await web.patch(path, {"state": "paid"}, If_Match=tags)).status == 200


@case
async def a_change_to_another_version_is_412(web: Client) -> None:
    path = await new_path(web)
    await web.patch(path, {"state": "paid"})
    for tags in ('"1"', '"1", "7"', 'W/"2"', '"x"', "2", '"99999999999999999999"'):
        problem = check_problem(await web.patch(path, {"amount": 1}, If_Match=tags), 412)
        assert problem["type"] == "urn:timber:problem:precondition-failed"
    assert (await web.get(path)).json["amount"] == "9.50"


@case
async def whose_row_it_is_cannot_be_changed(web: Client) -> None:
    reply = await web.patch(await new_path(web), {"user_id": "somebody-else", "id": str(uuid4())})
    check_problem(reply, 422)
    assert reply.fields == {"user_id", "id"}


@case
async def a_row_of_somebody_else_cannot_be_changed(web: Client) -> None:
    path = await new_path(web)
    check_problem(await web.patch(path, {"state": "paid"}, user="somebody-else"), 404)
    check_problem(
        await web.patch(path, {"state": "paid"}, user="somebody-else", If_Match='"1"'), 404
    )
    check_problem(await web.patch(path, {"state": "paid"}, user=None), 401)
    assert (await web.get(path)).json["state"] == "open"


@case
async def a_change_that_does_not_fit_is_refused(web: Client) -> None:
    reply = await web.patch(await new_path(web), {"state": "lost", "paid": True})
    check_problem(reply, 422)
    assert reply.fields == {"state", "paid"}


@case
async def a_deleted_row_is_gone(web: Client) -> None:
    path = await new_path(web)
    reply = await web.delete(path)
    assert (reply.status, reply.body) == (204, b"")
    check_problem(await web.get(path), 404)
    check_problem(await web.delete(path), 404)
    check_problem(await web.patch(path, {"state": "paid"}), 404)


@case
async def only_the_version_at_hand_is_deleted(web: Client) -> None:
    path = await new_path(web)
    await web.patch(path, {"state": "paid"})
    check_problem(await web.delete(path, If_Match='"1"'), 412)
    assert (await web.get(path)).status == 200
    assert (await web.delete(path, If_Match='"2"')).status == 204


@case
async def a_row_of_somebody_else_cannot_be_deleted(web: Client) -> None:
    path = await new_path(web)
    check_problem(await web.delete(path, user="somebody-else"), 404)
    check_problem(await web.delete(path, user=None), 401)
    assert (await web.get(path)).status == 200
