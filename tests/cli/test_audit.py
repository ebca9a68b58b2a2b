"""`timber audit` proves that the audit is as it was, says what is not, and how much is not sealed yet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.harness.databases import connected
from timber import Timber
from timber.cli.commands import app
from timber.features.audit import AuditKeys, Sealer

KEY = "a-key-of-the-audit-for-nothing-but-tests"
MODELS = """
version: 1
models:
  - name: Account
    table: accounts
    columns: [{name: email, type: Text}]
    features: {audit: true}
"""


@pytest.fixture
async def audited(bare_database_url: str, tmp_path: Path) -> AsyncGenerator[Timber]:
    (tmp_path / "models.yaml").write_text(MODELS)
    async with Timber(
        bare_database_url, model_config_dirs=[tmp_path], audit_key=KEY, audit_seal_every=None
    ) as timber:
        await timber.db.create_all_tables()
        await timber.service("Account").repository.insert_many(
            [{"email": f"{n}"} for n in range(9)]
        )
        yield timber


async def run(url: str, *arguments: str, key: str | None = KEY) -> Result:
    environment = {"TIMBER_DATABASE_URL": url, "TIMBER_AUDIT_KEY": key}
    # In a thread: a command has an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments], env=environment)


async def sealed(timber: Timber) -> None:
    while not await Sealer(timber.db, AuditKeys([KEY])).seal_all():
        pass


async def tampered(url: str, statement: str) -> None:
    async with connected(url) as connection:
        await connection.execute(f"SET session_replication_role = replica; {statement}")


async def verified(url: str, *arguments: str) -> tuple[int, Any]:
    result = await run(url, "verify", "--json", *arguments)
    return result.exit_code, json.loads(result.stdout)


async def test_what_is_as_it_was_is_said_to_be(audited, bare_database_url):
    await sealed(audited)
    await audited.service("Account").create({"email": "new"})
    result = await run(bare_database_url, "verify")
    assert result.exit_code == 0
    assert "9 rows under 1 seals are as they were sealed." in result.stdout
    assert "1 rows are not sealed yet, the oldest for" in result.stdout
    assert "--anchor" in result.stdout
    code, answer = await verified(bare_database_url)
    assert (code, answer["ok"], answer["unsealed_rows"]) == (0, True, 1)
    assert answer["unsealed_seconds"] > 0


async def test_what_was_changed_is_told_and_the_exit_code_is_1(audited, bare_database_url):
    await sealed(audited)
    await tampered(bare_database_url, "UPDATE timber_audit SET action = 'delete'")
    result = await run(bare_database_url, "verify")
    assert result.exit_code == 1
    assert "changed: under seal 1" in result.stdout
    code, answer = await verified(bare_database_url)
    assert (code, answer["ok"]) == (1, False)
    assert answer["problem_count"] == 10


async def test_an_anchor_finds_what_was_cut_off(audited, bare_database_url, tmp_path):
    await sealed(audited)
    kept = tmp_path / "anchor.json"
    assert (await run(bare_database_url, "anchor", "-o", str(kept))).exit_code == 0
    printed = (await run(bare_database_url, "anchor")).stdout
    assert json.loads(printed) == json.loads(kept.read_text())
    assert (await verified(bare_database_url, "--anchor", str(kept)))[0] == 0
    await tampered(bare_database_url, "DELETE FROM timber_audit; DELETE FROM timber_audit_seals")
    assert (await verified(bare_database_url))[0] == 0
    code, answer = await verified(bare_database_url, "--anchor", str(kept))
    assert (code, [p["kind"] for p in answer["problems"]]) == (1, ["cut_off"])


async def test_it_seals_by_hand(audited, bare_database_url):
    rows = 0
    while not rows:
        result = await run(bare_database_url, "seal", "--json")
        rows = json.loads(result.stdout)["sealed_rows"]
    assert rows == 9
    assert (await run(bare_database_url, "seal")).stdout == "sealed 0 rows\n"


async def test_what_cannot_be_done_is_said_and_the_exit_code_is_2(
    audited, bare_database_url, database_url, tmp_path
):
    kept = tmp_path / "anchor.json"
    kept.write_text("{}")
    for arguments, url, key, why in (
        (["verify"], bare_database_url, None, "audit_key"),
        (["verify"], bare_database_url, "short", "shorter than 32"),
        (["verify"], database_url, KEY, "There is no audit"),
        (["verify", "--anchor", str(kept)], bare_database_url, KEY, "timber audit anchor"),
        (["anchor"], bare_database_url, KEY, "Nothing has been sealed"),
    ):
        result = await run(url, *arguments, key=key)
        assert result.exit_code == 2, arguments
        assert why in result.stderr
