"""Errors as problem documents."""

from __future__ import annotations

from tests.harness.serving import Client, Reply
from tests.integrations.api import ERRORS, SECRET
from tests.integrations.cases.listed import CASES, case

STATUSES = {
    "service": 500,
    "validation": 422,
    "not-found": 404,
    "permission-denied": 403,
    "conflict": 409,
    "stale-data": 409,
    "database": 500,
    "unavailable": 503,
    "pool-timeout": 503,
    "query-timeout": 504,
    "serialization": 503,
    "commit-outcome-unknown": 500,
    "configuration": 500,
    "usage": 500,
    "unit-of-work-shared": 500,
    "unit-of-work-closed": 500,
    "unit-of-work-doomed": 500,
    "feature-bypassed": 500,
    "out-of-stock": 409,
    "everything": 402,
    "unexpected": 500,
}
assert STATUSES.keys() == ERRORS.keys()


def check_problem(reply: Reply, status: int) -> dict[str, object]:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].partition(";")[0] == "application/problem+json"
    problem: dict[str, object] = reply.json
    assert problem["status"] == status
    assert isinstance(problem["title"], str)
    assert isinstance(problem["type"], str)
    return problem


def _each_error(name: str, status: int) -> None:
    async def raised(web: Client) -> None:
        reply = await web.get(f"/errors/{name}")
        problem = check_problem(reply, status)
        expected = "about:blank" if name == "unexpected" else f"urn:timber:problem:{name}"
        assert problem["type"] == expected
        assert problem["instance"] == f"/errors/{name}"
        assert SECRET.encode() not in reply.body
        assert ("retry-after" in reply.headers) == (status == 503)

    raised.__name__ = f"{name}_error_is_a_problem_with_{status}"
    CASES.append(raised)


for _name, _status in STATUSES.items():
    _each_error(_name, _status)


@case
async def a_validation_error_names_each_field(web: Client) -> None:
    problem = check_problem(await web.get("/errors/validation"), 422)
    assert problem["errors"] == [
        {"field": "a.b", "detail": "is wrong"},
        {"field": "c", "detail": "is missing"},
    ]


@case
async def a_conflict_names_its_constraint(web: Client) -> None:
    problem = check_problem(await web.get("/errors/conflict"), 409)
    assert problem["constraint"] == "invoices_number_key"


@case
async def an_unknown_outcome_is_said(web: Client) -> None:
    problem = check_problem(await web.get("/errors/commit-outcome-unknown"), 500)
    assert problem["outcome"] == "unknown"


@case
async def a_path_that_is_nowhere_is_a_problem(web: Client) -> None:
    problem = check_problem(await web.get("/nowhere"), 404)
    assert problem["type"] == "about:blank"
    assert problem["title"] == "Not Found"
    assert problem["instance"] == "/nowhere"


@case
async def a_method_that_is_not_allowed_is_a_problem_that_says_which_are(web: Client) -> None:
    for path, methods in (
        ("/invoices", {"GET", "POST"}),
        ("/invoices/x", {"GET", "PATCH", "DELETE"}),
    ):
        reply = await web.call("PUT", path)
        check_problem(reply, 405)
        allowed = {word.strip() for word in reply.headers["allow"].split(",")}
        assert allowed - {"HEAD"} == methods


@case
async def an_error_of_the_application_s_own_keeps_its_words_and_headers(web: Client) -> None:
    reply = await web.get("/teapot")
    problem = check_problem(reply, 418)
    assert problem["detail"] == "I am one."
    assert reply.headers["x-pot"] == "tea"


@case
async def a_body_that_is_no_json_is_a_problem_of_the_body(web: Client) -> None:
    for body in (b"{not json", b"\xff\xfe", b"[" * 100_000):
        reply = await web.post("/sessions", body=body)
        check_problem(reply, 422)
        assert reply.fields == {"body"}


@case
async def a_missing_body_is_a_problem_of_the_body(web: Client) -> None:
    reply = await web.post("/sessions")
    check_problem(reply, 422)
    assert reply.fields == {"body"}


@case
async def each_field_of_a_body_that_does_not_fit_is_named(web: Client) -> None:
    reply = await web.post(
        "/sessions", {"session_type": 5, "symbol": ["A"], "notes": ["a", 2], "more": 1}
    )
    check_problem(reply, 422)
    assert reply.fields == {"session_type", "symbol", "notes.1", "more"}


@case
async def a_value_that_was_refused_is_not_sent_back(web: Client) -> None:
    reply = await web.post("/sessions", {"session_type": "x" * 60 + SECRET})
    check_problem(reply, 422)
    assert SECRET.encode() not in reply.body
