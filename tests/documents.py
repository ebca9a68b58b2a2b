"""What the pages say is true: their links lead somewhere and their Python runs. Run by the sessions docs and docs_short."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
import tempfile
from collections.abc import Generator, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.pages import blocks
from timber.cli.commands import app

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("**/*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(PROJECT)) for page in PAGES]
)


@each_page
def test_links_to_files_lead_somewhere(page: Path) -> None:
    missing = [
        link
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert not missing


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``timber`` command in the shell blocks of a page."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language not in {"sh", "bash"}:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
            words.whitespace_split = True
            for is_end, command in groupby(words, key=lambda word: word[0] in "&|;<>"):
                found = list(command)
                while found and found[0] in {"do", "python", "-m"}:
                    del found[0]
                if not is_end and found and found[0] == "timber":
                    yield found[1:]


@each_page
def test_commands_are_called_as_they_can_be(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "anchor.json").touch()  # it has to be there
    timber = get_command(app)
    for words in commands(page):
        command: Any = timber
        rest = list(words)
        while hasattr(command, "commands") and rest and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        # An option or argument that there is not is a UsageError.
        command.make_context(" ".join(words), rest)


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that an embedded server under another account can reach, unlike pytest's own when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="timber-docs-") as path:
        yield Path(path)


@each_page
def test_python_runs_as_shown(
    page: Path, fresh_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TIMBER_DATABASE_URL", fresh_database_url)
    monkeypatch.syspath_prepend(folder)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.file is not None:
            block.apply(folder)
        if block.file is not None or block.language != "python":
            continue
        # Lines count from the top of the page, so that a traceback points into it.
        code = "\n" * (block.line - 1) + block.text
        compiled = compile(
            code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        result = eval(compiled, names)  # a page's code may await at its top
        if inspect.iscoroutine(result):
            asyncio.run(result)
