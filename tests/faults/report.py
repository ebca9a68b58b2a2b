"""What the rows have shown, from the tests into docs/reliability.md: a plugin of pytest, see :mod:`tests.faults`.

docs/reliability.json keeps it: for each row what each of its tests has shown the last time that it ran in full.
"""

from __future__ import annotations

import json
import platform
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.rows import ROWS, Row

PROJECT = Path(__file__).parents[2]
KEPT = PROJECT / "docs" / "reliability.json"
PAGE = PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- rows: begin -->\n", "<!-- rows: end -->\n"
_PROPERTY = "reliability"

Shown = dict[str, Any]
"""What one test has shown: outcome, seconds, seed, counts, figures, versions, and its bug if it has one."""


class Report:
    """What one test of a row has to say."""

    def __init__(self, row: Row, seed: int, bug: str | None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.shown: Shown = {
            "row": row.name,
            "seed": seed,
            "bug": bug,
            "counts": {},
            "figures": {},
            "versions": {"Python": platform.python_version()},
        }

    def count(self, name: str, number: int) -> None:
        """A number that is added up, here and over the tests of a row."""
        counts = self.shown["counts"]
        counts[name] = counts.get(name, 0) + number

    def figure(self, name: str, value: object) -> None:
        """Any other figure, with its unit."""
        self.shown["figures"][name] = str(value)

    def version(self, program: str, number: str) -> None:
        """What it was shown on: PostgreSQL, Redis, Valkey."""
        self.shown["versions"][program] = number.partition(" ")[0]


def forms(short: object, full: object, *, timeout: float = 60) -> pytest.MarkDecorator:
    """A test's short and full form, by its argument ``size``; ``timeout`` in seconds is the full one's."""
    slow = [pytest.mark.slow, pytest.mark.timeout(timeout)]
    return pytest.mark.parametrize(
        "size", [pytest.param(short, id="short"), pytest.param(full, id="full", marks=slow)]
    )


def seeded_bug(bug: str) -> pytest.MarkDecorator:
    """A test that patches a bug into the package and sees its row catch it."""
    return pytest.mark.seeded_bug(bug)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """For the row that the test's module calls ``ROW``."""
    seed = request.config.getoption("randomly_seed", None)
    bug = request.node.get_closest_marker("seeded_bug")
    made = Report(
        request.module.ROW,
        seed if isinstance(seed, int) else random.SystemRandom().getrandbits(32),
        bug.args[0] if bug else None,
    )
    if bug or request.node.get_closest_marker("slow"):
        request.node.user_properties.append((_PROPERTY, made.shown))
    return made


# ----------------------------------------------------------------------------------------------------------- the plugin


class Collector:
    """Gathers what the tests of this run have shown, and writes it at the end."""

    def __init__(self) -> None:
        self.shown: dict[str, Shown] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        of_test = next((value for name, value in report.user_properties if name == _PROPERTY), None)
        known = self.shown.get(report.nodeid)
        if of_test is None:
            if report.failed and known is None and "tests/faults/" in report.nodeid:
                # Its process died before it could say anything; the row is known from an earlier run.
                self.shown[report.nodeid] = {"outcome": "failed", "error": _error_of(report)}
            return
        if known is None:
            known = self.shown[report.nodeid] = {"seconds": 0.0, "outcome": "passed"}
        known.update(of_test)
        known["seconds"] += report.duration
        known["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        if report.failed:
            known.update(outcome="failed", error=_error_of(report))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.shown and not hasattr(session.config, "workerinput"):
            write(self.shown)


def write(new: dict[str, Shown]) -> None:
    """Put what is new beside what is kept, and both on the page."""
    kept: dict[str, Shown] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    merged = dict(sorted(merge(kept, new).items()))
    KEPT.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(merged) + END + rest.partition(END)[2], "utf-8")


def _error_of(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return " ".join(text.split())[:300]


def merge(kept: dict[str, Shown], new: dict[str, Shown]) -> dict[str, Shown]:
    """What was kept of tests that still exist, replaced by what is new."""
    merged = {test: shown for test, shown in kept.items() if _exists(test)}
    for test, shown in new.items():
        row = merged.get(test, {}).get("row", test)
        merged[test] = {"row": row, **shown}
    return merged


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = PROJECT / file
    return path.exists() and f"def {name.partition('[')[0]}(" in path.read_text(encoding="utf-8")


def table(kept: dict[str, Shown]) -> str:
    """The table of docs/reliability.md."""
    rows = {row.name: row for row in ROWS}
    for shown in kept.values():
        name = shown["row"]
        rows.setdefault(name, Row(name, f"`{name}`", ""))
    lines = [
        "| What happens | It must show | Shown | Seeded bugs that it caught | Again |",
        "|---|---|---|---|---|",
    ]
    for row in rows.values():
        of_row = {test: shown for test, shown in sorted(kept.items()) if shown["row"] == row.name}
        cells = [row.title, row.promise, _shown(of_row), _bugs(of_row), _again(of_row)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(of_row: dict[str, Shown]) -> str:
    tests = {test: shown for test, shown in of_row.items() if not shown.get("bug")}
    if not tests:
        return "not run yet"
    failed = {test: shown for test, shown in tests.items() if shown["outcome"] == "failed"}
    parts = [f"**failed**: `{test.partition('::')[2]}`: {_cell(s)}" for test, s in failed.items()]
    counts: Counter[str] = Counter()
    for shown in tests.values():
        counts.update(shown.get("counts", {}))
    held = [f"{name} {number:,}" for name, number in counts.items()]
    figures: dict[str, list[str]] = {}
    for shown in tests.values():
        for name, value in shown.get("figures", {}).items():
            figures.setdefault(name, []).append(value)
    held += [f"{name} {' / '.join(values)}" for name, values in figures.items()]
    if not failed:
        parts.append("**held**")
    parts += [", ".join(held)] if held else []
    versions = {
        f"{k} {v}" for shown in tests.values() for k, v in shown.get("versions", {}).items()
    }
    seconds = sum(shown.get("seconds", 0.0) for shown in tests.values())
    dates = sorted({shown["date"] for shown in tests.values() if "date" in shown})
    parts.append(
        f"{', '.join(sorted(versions))}; {seconds:,.0f} s; {' to '.join(dates[:1] + dates[1:][-1:])}"
    )
    return "<br>".join(parts)


def _cell(shown: Shown) -> str:
    return str(shown["error"]).replace("`", "'")


def _bugs(of_row: dict[str, Shown]) -> str:
    bugs = [shown for shown in of_row.values() if shown.get("bug")]
    if not bugs:
        return "not run yet"
    return "<br>".join(
        f"{shown['bug']} (**missed**: {_cell(shown)})" if "error" in shown else shown["bug"]
        for shown in bugs
    )


def _again(of_row: dict[str, Shown]) -> str:
    seeds = sorted(
        {shown["seed"] for shown in of_row.values() if not shown.get("bug") and "seed" in shown}
    )
    files = " ".join(sorted({test.partition("::")[0] for test in of_row}))
    return "<br>".join(
        f"`nox -s faults -- {files} -m slow --randomly-seed={seed}`" for seed in seeds
    )
