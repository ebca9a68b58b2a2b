"""Lists of a configured model: filters, order and pages."""

from __future__ import annotations

from tests.harness.serving import Client, Reply
from tests.integrations.cases.errors import check_problem
from tests.integrations.cases.listed import case
from tests.integrations.cases.rows import made


async def three(web: Client) -> None:
    await made(web, amount=1, due="2030-01-01")
    await made(web, amount=2, state="paid", due="2030-02-01")
    await made(web, amount=3)


def amounts(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [row["amount"].removesuffix(".00") for row in reply.json["items"]]


@case
async def a_list_is_newest_first_and_one_s_own(web: Client) -> None:
    await three(web)
    assert amounts(await web.get("/invoices")) == ["3", "2", "1"]
    assert amounts(await web.get("/invoices", user=f"not-{web.user}")) == []
    check_problem(await web.get("/invoices", user=None), 401)


@case
async def a_list_without_rows_is_empty(web: Client) -> None:
    reply = await web.get("/invoices")
    assert reply.json == {"items": [], "next_cursor": None, "previous_cursor": None}


@case
async def a_list_is_filtered_by_values(web: Client) -> None:
    await three(web)
    assert amounts(await web.get("/invoices?state=paid")) == ["2"]
    assert amounts(await web.get("/invoices?amount=3.00")) == ["3"]
    assert amounts(await web.get("/invoices?due=2030-01-01&state=open")) == ["1"]
    assert amounts(await web.get("/invoices?state__ne=paid")) == ["3", "1"]


@case
async def a_list_is_filtered_by_comparisons(web: Client) -> None:
    await three(web)
    assert amounts(await web.get("/invoices?amount__gte=2")) == ["3", "2"]
    assert amounts(await web.get("/invoices?amount__gt=1&amount__lt=3")) == ["2"]
    assert amounts(await web.get("/invoices?due__lte=2030-01-31")) == ["1"]
    assert amounts(await web.get("/invoices?amount__in=1&amount__in=3")) == ["3", "1"]
    assert amounts(await web.get("/invoices?due__is_null=true")) == ["3"]
    assert amounts(await web.get("/invoices?due__is_null=false")) == ["2", "1"]


@case
async def a_time_in_a_filter_has_a_zone(web: Client) -> None:
    await three(web)
    assert amounts(await web.get("/invoices?created_at__lt=2000-01-01T00:00:00Z")) == []
    reply = await web.get("/invoices?created_at__lt=2000-01-01T00:00:00")
    check_problem(reply, 422)
    assert reply.fields == {"created_at__lt"}


@case
async def a_list_is_ordered_as_asked(web: Client) -> None:
    await three(web)
    assert amounts(await web.get("/invoices?order_by=amount")) == ["1", "2", "3"]
    reply = await web.get("/invoices?order_by=-state&order_by=-amount")
    assert amounts(reply) == ["2", "3", "1"]


@case
async def a_list_goes_on_behind_its_cursor_and_back(web: Client) -> None:
    await three(web)
    first = await web.get("/invoices?order_by=amount&limit=2")
    assert amounts(first) == ["1", "2"]
    assert first.json["previous_cursor"] is None
    path = f"/invoices?order_by=amount&limit=2&cursor={first.json['next_cursor']}"
    second = await web.get(path)
    assert amounts(second) == ["3"]
    assert second.json["next_cursor"] is None
    back = second.json["previous_cursor"]
    assert amounts(await web.get(f"/invoices?order_by=amount&limit=2&cursor={back}")) == ["1", "2"]


@case
async def a_cursor_of_another_order_is_refused(web: Client) -> None:
    await three(web)
    cursor = (await web.get("/invoices?limit=1")).json["next_cursor"]
    reply = await web.get(f"/invoices?order_by=amount&cursor={cursor}")
    check_problem(reply, 422)
    assert reply.fields == {"cursor"}
    check_problem(await web.get("/invoices?cursor=nonsense"), 422)


@case
async def a_limit_out_of_range_is_refused(web: Client) -> None:
    for limit in ("0", "1001", "-1", "many", ""):
        reply = await web.get(f"/invoices?limit={limit}")
        check_problem(reply, 422)
        assert reply.fields == {"limit"}


@case
async def a_parameter_that_is_unknown_is_refused(web: Client) -> None:
    for name in ("colour", "amount__like", "user_id", "version_token", "details", "__gt"):
        reply = await web.get(f"/invoices?{name}=1")
        check_problem(reply, 422)
        assert reply.fields == {name}


@case
async def a_value_that_does_not_fit_its_column_is_refused(web: Client) -> None:
    for name, value in (
        ("amount", "dear"),
        ("created_at__ne", "0.5"),
        ("state", "lost"),
        ("due__gt", "soon"),
        ("id", "7"),
    ):
        reply = await web.get(f"/invoices?{name}={value}")
        check_problem(reply, 422)
        assert reply.fields == {name}


@case
async def an_order_by_a_column_that_may_be_empty_is_refused(web: Client) -> None:
    for name in ("due", "details", "nonsense", "-"):
        check_problem(await web.get(f"/invoices?order_by={name}"), 422)
