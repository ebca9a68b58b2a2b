"""`timber worker` does what is to be done beside requests, says how it went, and stops when it is told to."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timber import Timber
from timber.cli.answers import FAILED
from timber.cli.commands import app
from timber.database.statements import Statement

MODELS = """
version: 1
models:
  - name: Memo
    table: memos
    columns:
      - {name: text, type: Text}
    features:
      embedding: {columns: [text], dimension: 64}
"""


@pytest.fixture
def url(bare_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with twenty memos to embed, named in the environment."""
    (tmp_path / "memos.yaml").write_text(MODELS)
    monkeypatch.setenv("TIMBER_DATABASE_URL", bare_database_url)
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("TIMBER_EMBEDDER", "hashing:64")

    async def fill() -> None:
        async with Timber() as timber:
            await timber.db.create_all_tables()
            await timber.service("Memo").create_many({"text": f"memo {n}"} for n in range(20))

    asyncio.run(fill())
    return bare_database_url


def worker(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["worker", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def test_once_it_works_until_nothing_is_left_to_do(url: str) -> None:
    assert worker("status", "--json")["figures"]["embedding"]["pending"] == 20
    found = worker("--once", "--json")
    assert found["done"] == {"embedding": 20}
    assert found["figures"]["embedding"]["embedded"] == 20
    assert worker("--once", "--json")["done"] == {}
    assert "embedded 20" in worker("status")


def test_what_was_given_up_is_tried_again_when_somebody_says_so(url: str) -> None:
    async def give_up() -> None:
        async with Timber() as timber:
            sql = "UPDATE timber_memos_embedding SET state = 'dead', reason = 'of a test'"
            await timber.db.write(Statement(sql, label="test"))

    asyncio.run(give_up())
    assert worker("--once", "--json")["figures"]["embedding"]["dead"] == 20
    assert worker("retry-dead", "--json") == {"retried": {"embedding": 20}}
    assert worker("--once", "--json")["done"] == {"embedding": 20}


def test_work_that_is_not_there_is_an_error(url: str) -> None:
    result = CliRunner().invoke(app, ["worker", "--only", "sweeping"])
    assert result.exit_code == FAILED
    assert "no background work 'sweeping'" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_goes_on_until_it_is_told_to_stop_and_then_answers(url: str, number: int) -> None:
    command = [sys.executable, "-m", "timber", "worker", "--json", "--idle-seconds", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(100):
                if worker("status", "--json")["figures"]["embedding"]["embedded"] == 20:
                    break
                time.sleep(0.1)
            process.send_signal(number)
            answer, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert json.loads(answer)["done"] == {"embedding": 20}
