"""What a person types, and what is said to them."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from alembic.config import main as alembic
from typer.testing import CliRunner, Result

from tests.migrations.projects import BEFORE
from timber.cli.commands import app
from timber.database.migrations import commands
from timber.errors import ConfigurationError

SECRET = "geh%40im"


@pytest.fixture
def here(tmp_path: Path, bare_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with models, whose environment names an empty database."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "models.yaml").write_text(BEFORE, encoding="utf-8")
    monkeypatch.setenv("TIMBER_DATABASE_URL", bare_database_url)
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", "models")
    return tmp_path


def migrate(*arguments: str, code: int = 0) -> str:
    result: Result = CliRunner().invoke(app, ["migrate", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_the_commands_in_the_order_in_which_one_needs_them(here: Path) -> None:
    assert "wrote migrations/env.py" in migrate("init")
    assert "There are no migrations in elsewhere" in migrate("check", "-d", "elsewhere", code=2)
    assert "holds migrations already" in migrate("init", code=2)
    said = migrate("new", "-m", "Initial: what's there")
    assert re.match(r"wrote migrations/versions/0001_\w{4}_initial_what_s_there\.py\n", said)
    assert "the table authors is missing" in migrate("check", code=1)
    assert "run `timber migrate up` first" in migrate("new", "-m", "too early", code=2)
    assert "CREATE TABLE authors" in migrate("sql")
    assert migrate("up").startswith("applied 0001_")
    assert migrate("up") == "Nothing to do.\n"
    assert migrate("check") == ""
    assert migrate("new", "-m", "again").startswith("Nothing has changed")
    assert migrate("down").startswith("took back 0001_")
    assert "There is nothing to take back" in migrate("down", code=2)
    assert migrate("down", "base") == "Nothing to do.\n"
    assert "Can't locate revision identified by '77'" in migrate("up", "77", code=2)
    assert "No such revision or branch '77'" in migrate("sql", "77:78", code=2)


def test_data_that_a_migration_destroys_is_named(here: Path) -> None:
    migrate("init")
    migrate("new", "-m", "initial")
    migrate("up")
    model = here / "models" / "models.yaml"
    model.write_text(BEFORE.replace("      - {name: nick, type: String(20)}\n", ""))
    assert "it destroys data: the column authors.nick" in migrate("new", "-m", "no nicks")


@pytest.mark.parametrize("command", [("up",), ("check",), ("new", "-m", "x"), ("down",)])
def test_a_password_is_never_printed(here: Path, command: tuple[str, ...]) -> None:
    migrate("init")
    migrate("new", "-m", "x", "--empty")
    for url in (
        f"postgresql://somebody:{SECRET}@127.0.0.1:9/nothing",
        f"postgresql://somebody:{SECRET}@127.0.0.1:9/nothing?unknown={SECRET}",
        f"mysql://somebody:{SECRET}@127.0.0.1:9/nothing",
    ):
        said = migrate(*command, "--database-url", url, code=2)
        assert said.startswith("timber: ")
        assert SECRET not in said
        assert "geh@im" not in said


def test_a_folder_that_cannot_be_written_to_is_no_lost_connection(here: Path) -> None:
    migrate("init")
    shutil.rmtree("migrations/versions")
    Path("migrations/versions").touch()
    said = migrate("new", "-m", "x", code=2)
    assert re.match(r"timber: Cannot use .*/migrations/versions/.*: Not a directory\.\n", said)


def test_who_names_no_models_is_told_whose_tables_a_migration_makes(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate("init")
    monkeypatch.delenv("TIMBER_MODEL_CONFIG_DIRS")
    assert "no folder of models is named" in migrate("new", "-m", "timber's")
    shutil.rmtree("migrations")
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", "models")
    migrate("init")
    assert "no folder of models" not in migrate("new", "-m", "all")


def test_broken_models_are_reported_where_they_are_broken(here: Path) -> None:
    migrate("init")
    model = here / "models" / "models.yaml"
    model.write_text(BEFORE.replace("type: Integer", "type: Integre"), encoding="utf-8")
    assert "models.yaml:9:27" in migrate("new", "-m", "x", code=2).replace("\n", "")


def test_alembic_itself_works_on_the_same_folder(here: Path) -> None:
    migrate("init")
    migrate("new", "-m", "initial")
    alembic(["-c", "migrations/alembic.ini", "upgrade", "head"])
    assert migrate("check") == ""
    alembic(["-c", "migrations/alembic.ini", "downgrade", "base"])
    assert "the table authors is missing" in migrate("check", code=1)


def test_without_alembic_somebody_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("timber.database.migrations")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "alembic", None)
    assert "timber-async[migrations]" in migrate("check", code=2)


async def test_from_async_code_the_error_names_the_way(here: Path) -> None:
    commands.init()
    commands.new(message="x", empty=True)
    with pytest.raises(ConfigurationError, match=r"await upgrade"):
        commands.up()
    applied = await commands.upgrade()
    assert len(applied.revisions) == 1
