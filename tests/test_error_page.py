"""Every error has a section that says what to do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from timber import errors

PAGE = (Path(__file__).parent.parent / "docs" / "errors.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n\n(.+?)(?=\n## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.ServiceError)
}


def test_the_page_knows_every_error_and_no_other() -> None:
    assert SECTIONS.keys() == CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_section_says_more_than_the_docstring(name: str) -> None:
    assert len(SECTIONS[name]) > 60


@pytest.mark.parametrize("name", CLASSES)
def test_the_tree_shows_the_status(name: str) -> None:
    tree = PAGE.partition("```text")[2].partition("```")[0]
    shown = re.search(rf"\b{name}(?: (\d+))?", tree)
    assert shown
    if shown[1] is not None:
        assert int(shown[1]) == CLASSES[name].status
