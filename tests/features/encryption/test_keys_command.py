"""``timber keys``: what a person types, and what programs read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.features.encryption.models import FILE, account
from tests.harness.databases import connected, run_apart
from timber import Timber
from timber.cli.commands import app
from timber.features.encryption import FileKeyRing


@pytest.fixture
def here(
    tmp_path: Path, vault_url: str, clean_vault: None, monkeypatch: pytest.MonkeyPatch
) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "models.yaml").write_text(FILE.read_text())
    monkeypatch.setenv("TIMBER_DATABASE_URL", vault_url)
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", str(tmp_path / "models"))
    monkeypatch.setenv("TIMBER_ENCRYPTION_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setenv("TIMBER_PERSON_KEYS", str(tmp_path / "persons"))
    return tmp_path


def keys(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["keys", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def asked(*arguments: str, code: int = 0):
    return json.loads(keys(*arguments, "--json", code=code))


async def fill(rows: int) -> None:
    async with Timber() as timber:
        accounts = timber.repository("Account", timber.registry.read_dto("Account"))
        await accounts.insert_many([account(n) for n in range(rows)])
        diaries = timber.repository("Diary", timber.registry.read_dto("Diary"))
        await diaries.insert({"user_id": "ann", "entry": "dear"})


def counts(data):
    return {(v["model"], v["column"], v["key_id"]): v["count"] for v in data["values"]}


def test_a_key_is_made_used_replaced_and_taken_away(here):
    first = asked("new")["key"]
    assert asked("status")["values"] == []
    run_apart(fill(30))
    second = asked("new")
    assert (second["primary"], second["file"]) == (False, str(here / "keys.json"))
    before = asked("status")
    assert (before["primary"], before["keys"]) == (first, sorted([first, second["key"]]))
    assert counts(before)["Account", "iban", first] == 30
    assert counts(before)["Diary", "entry", "(of persons)"] == 1
    assert counts(before)[None, None, first] == 1

    done = asked("rotate", "--to", second["key"], "--batch", "7")
    assert (done["primary"], done["rows"], done["persons"]) == (second["key"], 30, 1)
    assert (done["complete"], done["left"], done["failed"]) == (True, 0, {})
    assert {v["key_id"] for v in done["values"]} == {second["key"], "(of persons)"}
    assert "encrypted 0 rows anew" in keys("rotate")
    said = keys("status")
    assert f"Primary key: {second['key']}" in said
    assert "Keys of persons" in said

    third = asked("new", "--primary")["key"]
    assert asked("status")["primary"] == third
    for key in FileKeyRing(here / "keys.json").known().keys.values():
        assert key.hex() not in said


def test_what_cannot_be_read_is_found_and_the_exit_code_says_so(here, vault_url):
    keys("new")
    run_apart(fill(3))

    async def spoil():
        async with connected(vault_url) as connection:
            await connection.execute("UPDATE accounts SET iban = 'plain' WHERE number = 1")

    run_apart(spoil())
    assert counts(asked("status", code=1))["Account", "iban", "(unreadable)"] == 1
    keys("new", "--primary")
    done = asked("rotate", code=1)
    assert (done["rows"], done["failed"], done["complete"]) == (2, {"(unreadable)": 1}, False)
    (here / "keys.json").unlink()
    keys("new")
    assert "not in the key ring" in keys("status", code=1)
    # Two rows and the key of a person.
    assert "left 3 that cannot be decrypted" in keys("rotate", code=1)


def test_mistakes_are_said_plainly(here, monkeypatch):
    assert "timber keys new" in keys("status", code=2)
    assert "no key 'other'" in keys("rotate", "--to", "other", code=2)
    monkeypatch.delenv("TIMBER_ENCRYPTION_KEYS")
    assert "TIMBER_ENCRYPTION_KEYS" in keys("new", code=2)
    assert asked("status", code=2)["error"]["type"] == "ConfigurationError"


def test_keys_of_the_environment_are_printed_once_to_be_put_there(here, monkeypatch):
    monkeypatch.setenv("TIMBER_ENCRYPTION_KEYS", "env:SHOP_KEYS")
    made = asked("new")
    assert "Put it into SHOP_KEYS" in keys("new")
    monkeypatch.setenv("SHOP_KEYS", made["entry"])
    assert asked("status")["primary"] == made["key"]
    assert "In SHOP_KEYS put 'x'" in keys("rotate", "--to", "x", code=2)


@pytest.mark.timeout(150)  # it starts a process of its own
def test_an_interrupted_rotation_keeps_what_is_done_and_goes_on(here, vault_url):
    keys("new")
    run_apart(fill(300))
    new = asked("new")["key"]
    command = [sys.executable, "-m", "timber", "keys", "rotate", "--to", new]
    command += ["--batch", "1", "--json"]
    running = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE)

    async def wait_for_the_first():
        async with asyncio.timeout(90), connected(vault_url) as connection:
            while not await connection.fetchval(
                "SELECT 1 FROM accounts WHERE position($1::bytea IN iban) > 0 LIMIT 1", new.encode()
            ):
                assert running.poll() is None

    run_apart(wait_for_the_first())
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=45)
    assert running.returncode == 130
    assert "goes on from there" in json.loads(output)["error"]["message"]
    done = asked("rotate")
    assert done["complete"]
    assert 0 < done["rows"] < 300
    assert counts(done)["Account", "iban", new] == 300
