"""The example of docs/examples/workflow.py holds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from timber import NotFoundError, Timber, ValidationError

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "workflow.py"
FINDINGS = {"fundamental": {"pe": 29.1}, "technical": {"trend": "up"}}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("workflow", EXAMPLE)
    module = sys.modules["workflow"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["workflow"]


@pytest.fixture
def workflows(timber: Timber, example):
    return example.WorkflowService(timber.db, timber.sessions, timber.research)


async def test_a_workflow_writes_over_two_services(workflows, timber):
    begun = await workflows.begin("user-1", "AAPL", "Is it worth its price?")
    assert [item.research_type for item in begun.findings] == ["question"]
    done = await workflows.finish(begun.session.id, FINDINGS, "hold", owner="user-1")
    assert done.session.status == "completed"
    assert done.session.metadata == {"symbol": "AAPL", "result": {"verdict": "hold"}}
    assert {item.research_type for item in done.findings} == {"question", *FINDINGS}
    assert await workflows.open_analysis(begun.session.id, owner="user-1") == done


async def test_a_workflow_that_fails_half_way_leaves_nothing(workflows, timber):
    begun = await workflows.begin("user-1", "AAPL", "Is it worth its price?")
    await timber.sessions.transition(begun.session.id, "failed")
    with pytest.raises(ValidationError, match="failed"):
        await workflows.finish(begun.session.id, FINDINGS, "hold", owner="user-1")
    with pytest.raises(NotFoundError):
        await workflows.finish(begun.session.id, FINDINGS, "hold", owner="user-2")
    assert len(await timber.research.get_session_research(begun.session.id)) == 1


async def test_a_workflow_joins_the_callers_unit_of_work(workflows, timber):
    with pytest.raises(ZeroDivisionError):
        async with timber.unit_of_work():
            await workflows.begin("user-1", "AAPL", "?")
            raise ZeroDivisionError
    assert await timber.sessions.count_user_sessions("user-1") == 0


async def test_the_example_runs(example, fresh_database_url, monkeypatch, capsys):
    monkeypatch.setenv("TIMBER_DATABASE_URL", fresh_database_url)
    await example.main()
    assert "outcome: committed" in capsys.readouterr().out
