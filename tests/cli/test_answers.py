"""What holds of every command: it is quick to explain itself, answers in JSON too, and its exit code says how it went."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from timber.cli.answers import FAILED, INTERRUPTED, Json, answer
from timber.cli.commands import app

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


def leaves(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its name as it is typed."""
    if not hasattr(command, "commands"):
        yield " ".join(names), command
        return
    for name, below in command.commands.items():
        yield from leaves(below, *names, name)


COMMANDS = dict(leaves(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_in_json_too(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_on_its_page(name: str) -> None:
    assert re.search(rf"`timber {name}\b", PAGE.read_text(encoding="utf-8"))


def test_help_needs_none_of_what_commands_need() -> None:
    code = (
        "import sys; from timber.cli import main; main(['--help']);"
        "print({'alembic', 'asyncpg', 'cryptography', 'fastapi', 'pydantic', 'redis', 'rich',"
        "       'sqlalchemy', 'uvicorn', 'yaml'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert output.endswith("set()\n")


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    # The processor's time, since the tests have no machine to themselves.
    assert min(seconds_of_help() for _ in range(4)) < 0.3


def seconds_of_help() -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "timber", "--help"], check=True, capture_output=True, timeout=60
    )
    after = os.times()
    return (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working directory without models, in an environment that names no database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIMBER_DATABASE_URL", raising=False)
    monkeypatch.delenv("TIMBER_MODEL_CONFIG_DIRS", raising=False)


def test_an_error_is_its_message_on_the_error_stream(nowhere: None) -> None:
    result = CliRunner().invoke(app, ["schema", "--python"])
    assert result.exit_code == FAILED
    assert result.stderr.startswith("timber: There are no models to write")
    assert not result.stdout


def test_an_error_is_json_where_json_is_asked_for(nowhere: None) -> None:
    result = CliRunner().invoke(app, ["schema", "--python", "--json"])
    assert result.exit_code == FAILED
    assert json.loads(result.stdout)["error"]["type"] == "ConfigurationError"
    assert not result.stderr


@pytest.fixture
def interrupted() -> Iterator[str]:
    """The name of a command that is interrupted while it works."""

    @app.command("interrupted")
    def command(as_json: Json = False) -> None:
        from timber.cli.progress import progress

        async def work() -> None:
            raise KeyboardInterrupt

        with progress("Counting", total=10, quiet=as_json) as bar:
            bar.advance(3)
            asyncio.run(work())
        answer({}, as_json=as_json)

    yield "interrupted"
    app.registered_commands.pop()


def test_an_interruption_says_that_the_work_goes_on_next_time(interrupted: str) -> None:
    result = CliRunner().invoke(app, [interrupted])
    assert result.exit_code == INTERRUPTED
    assert "the same command goes on from there" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("explain",), ("bogus",), ("privacy", "summary"), ("explain", "Session", "--limit", "many")],
)
def test_a_command_that_is_called_wrongly_says_so_in_json_too(arguments: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*arguments])
    assert shown.exit_code == FAILED
    assert "Usage: " in shown.stderr
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == FAILED
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "UsageError"
    assert error["message"] in shown.stderr
    assert not result.stderr


def test_a_place_where_nothing_can_be_written_is_named(nowhere: None) -> None:
    Path("shop").write_text("a file where a folder is to be")
    for command in (["init", "shop"], ["migrate", "init", "-d", "shop/migrations"]):
        result = CliRunner().invoke(app, [*command, "--json"])
        assert result.exit_code == FAILED, result.output
        error = json.loads(result.stdout)["error"]
        assert error["type"] == "ConfigurationError"
        assert error["message"].startswith("Cannot use shop")
