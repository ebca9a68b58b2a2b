"""What OpenAPI tells of an application with Timber."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.integrations import api, api_fastapi
from timber import ConfigurationError, Timber
from timber.integrations import fastapi as in_fastapi
from timber.integrations.fastapi import crud_router, problems

PROBLEM = {"$ref": "#/components/schemas/Problem"}


@pytest.fixture
def timber(tmp_path: Path) -> Timber:
    """One that does not run: documentation needs no database."""
    return Timber("postgresql://nowhere/none", model_config_dirs=[api.write_models(tmp_path)])


@pytest.fixture
def schema(timber: Timber) -> dict[str, Any]:
    return api_fastapi.make(timber).openapi()


def statuses(schema: dict[str, Any], path: str, method: str) -> set[str]:
    return set(schema["paths"][path][method]["responses"])


def test_every_problem_is_documented_as_such(schema: dict[str, Any]):
    assert {"type", "title", "status", "errors"} <= set(
        schema["components"]["schemas"]["Problem"]["properties"]
    )
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert response["content"] == {"application/problem+json": {"schema": PROBLEM}}


def test_each_operation_documents_what_it_may_answer(schema: dict[str, Any]):
    always = {"422", "500", "503", "504"}
    assert statuses(schema, "/invoices", "get") == {"200", "401"} | always
    assert statuses(schema, "/invoices", "post") == {"201", "401", "409"} | always
    assert statuses(schema, "/invoices/{key}", "get") == {"200", "304", "401", "404"} | always
    assert (
        statuses(schema, "/invoices/{key}", "patch") == {"200", "401", "404", "409", "412"} | always
    )
    assert (
        statuses(schema, "/invoices/{key}", "delete")
        == {"204", "401", "404", "409", "412"} | always
    )
    assert statuses(schema, "/rates", "get") == {"200"} | always
    assert statuses(schema, "/readyz", "get") == {"200"} | always


def test_the_framework_s_own_errors_are_no_longer_there(schema: dict[str, Any]):
    assert not {"HTTPValidationError", "ValidationError"} & set(schema["components"]["schemas"])


def test_generated_dtos_are_there_without_the_owner(schema: dict[str, Any]):
    schemas = schema["components"]["schemas"]
    made = schemas["InvoiceCreate"]
    assert set(made["properties"]) == {"id", "number", "amount", "state", "due", "details"}
    assert made["additionalProperties"] is False
    assert set(made["required"]) == {"number", "amount"}
    assert made["properties"]["number"]["description"] == "As printed on it."
    assert "user_id" in schemas["InvoiceRead"]["properties"]
    assert "required" not in schemas["InvoiceUpdate"]


def test_filters_and_orders_are_there_as_parameters(schema: dict[str, Any]):
    parameters = {p["name"]: p for p in schema["paths"]["/invoices"]["get"]["parameters"]}
    names = {"cursor", "limit", "order_by", "state", "amount__gte", "due__is_null", "number__in"}
    assert names <= set(parameters)
    assert not {"user_id", "details", "state__gt", "amount__is_null"} & set(parameters)
    order = parameters["order_by"]["schema"]["items"]["enum"]
    assert "-amount" in order
    assert "due" not in order


def test_the_document_is_made_once_and_again_when_routes_are_added(timber: Timber):
    app = api_fastapi.make(timber)
    assert app.openapi() is app.openapi()

    @app.get("/more", responses=problems(403))
    async def more() -> None:
        pass

    app.openapi_schema = None
    assert "403" in statuses(app.openapi(), "/more", "get")


def test_an_error_handler_of_the_application_s_own_is_kept():
    app = FastAPI()

    async def mine(request: Any, error: Exception) -> Any:
        raise error

    app.exception_handlers[Exception] = mine
    in_fastapi.install(app)
    assert app.exception_handlers[Exception] is mine


def test_a_router_of_a_model_that_is_not_there_says_so(timber: Timber):
    with pytest.raises(ConfigurationError, match="Invoyce"):
        crud_router("Invoyce", timber)


def test_a_router_without_a_timber_takes_the_environment_s_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", str(api.write_models(tmp_path)))
    app = FastAPI()
    app.include_router(crud_router("Rate", verbs=["get"]), prefix="/rates")
    assert list(app.openapi()["paths"]) == ["/rates/{key}"]
