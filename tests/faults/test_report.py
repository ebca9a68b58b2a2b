"""The report of the rows: what failed is said to have failed, and what did not run stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import report as module
from tests.faults import rows
from tests.faults.report import Report, merge, table

ROW = rows.KILLED
THIS = "tests/faults/test_report.py::test_a_row_that_has_not_run_says_so"


def shown(**more: Any) -> dict[str, Any]:
    made = Report(ROW, 17, None)
    made.count("kills", 50)
    made.figure("first success", "0.4 s")
    made.version("PostgreSQL", "18.4 (Debian)")
    return {**made.shown, "outcome": "passed", "seconds": 12.0, "date": "2026-01-02", **more}


def line_of(kept: dict[str, Any]) -> str:
    return next(line for line in table(kept).splitlines() if ROW.title in line)


def test_a_row_that_has_not_run_says_so():
    assert line_of({}).count("not run yet") == 2


def test_a_row_has_its_figures_its_seed_and_how_to_run_it_again():
    line = line_of({THIS: shown()})
    assert "**held**<br>kills 50, first success 0.4 s<br>PostgreSQL 18.4, Python" in line
    assert "12 s; 2026-01-02" in line
    assert "nox -s faults -- tests/faults/test_report.py -m slow --randomly-seed=17" in line


def test_the_counts_of_several_tests_of_a_row_are_added_up():
    assert "kills 100" in line_of({THIS: shown(), THIS + "[2]": shown()})


def test_a_row_that_failed_says_failed():
    line = line_of({THIS: shown(outcome="failed", error="lost: a|b")})
    assert "**failed**" in line
    assert "lost: a\\|b" in line
    assert "**held**" not in line


def test_a_test_whose_process_died_leaves_its_row_failed_without_old_figures():
    line = line_of(merge({THIS: shown()}, {THIS: {"outcome": "failed", "error": "crashed"}}))
    assert "**failed**" in line
    assert "kills" not in line


def test_a_seeded_bug_that_was_not_caught_is_said_to_be_missed():
    bug = shown(bug="COMMIT is forgotten", outcome="failed", error="DID NOT RAISE")
    assert "COMMIT is forgotten (**missed**" in line_of({THIS: bug})
    bug = shown(bug="COMMIT is forgotten")
    assert "missed" not in line_of({THIS: bug})
    assert "kills" not in line_of({THIS: bug}), "what a bug makes of the figures is not shown"


def test_rows_that_did_not_run_are_kept_and_tests_that_are_gone_are_not():
    gone = "tests/faults/test_report.py::test_gone"
    assert merge({THIS: shown(), gone: shown()}, {}) == {THIS: shown()}


def test_a_failure_takes_the_place_of_what_was_shown_before():
    failed = shown(outcome="failed", error="lost")
    assert merge({THIS: shown()}, {THIS: failed}) == {THIS: failed}


def test_short_forms_write_nothing(report: Report, request: pytest.FixtureRequest):
    assert not [p for p in request.node.user_properties if p[0] == module._PROPERTY]
