"""Whoever reads the documentation finds every page of it."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
CONF = runpy.run_path(str(DOCS / "conf.py"))
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation_once() -> None:
    listed = [page for pages in CONF["navigation"](INDEX).values() for page in pages]
    there = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob("**/*.md")}
    assert sorted(listed) == sorted(there - {"index"})


def test_no_page_takes_the_place_of_one_that_the_site_makes_itself() -> None:
    made = {"search", "genindex", "py-modindex"}
    assert not made & {path.stem for path in DOCS.glob("*.md")}


def test_the_navigation_has_the_groups_of_the_index() -> None:
    assert list(CONF["navigation"](INDEX)) == ["Start", "Guides", "Operations"]
