"""The pytest plugin as a project uses it: in a pytest of its own, with nothing of this project's conftest."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.harness.databases import Databases

PROJECT = Path(__file__).parent / "project"
TESTS = PROJECT / "in_a_project.py"
NAMES = {
    node.name
    for node in ast.parse(TESTS.read_text(encoding="utf-8")).body
    if isinstance(node, ast.AsyncFunctionDef)
}


def run(url: str | None, *arguments: str) -> str:
    """What pytest says of the project's tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "TIMBER_"))
    }
    given = {} if url is None else {"TIMBER_TEST_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", str(TESTS), *arguments],
        check=False,
        cwd=PROJECT,
        env={**kept, **given},
        capture_output=True,
        text=True,
        timeout=150,
    )
    return done.stdout + done.stderr


@pytest.mark.timeout(180)  # a run of its own
def test_every_test_of_the_project_passes(test_databases: Databases, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    said = run(test_databases.server_url, "-p", "no:cacheprovider", f"--junitxml={report}")
    assert report.exists(), said
    cases = list(ET.parse(report).iter("testcase"))
    assert {str(case.get("name")).partition("[")[0] for case in cases} == NAMES
    assert not {case.get("name"): [part.text for part in case] for case in cases if len(case)}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_workers_share_an_embedded_server_that_is_taken_away_at_the_end() -> None:
    before = set(Path(tempfile.gettempdir()).glob("timber-test-*"))
    said = run(None, "-n", "2", "-k", "not imported_nothing")
    assert "12 passed" in said
    assert set(Path(tempfile.gettempdir()).glob("timber-test-*")) <= before
