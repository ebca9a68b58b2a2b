"""Encrypted columns are in the audit as digests of their values, not of their ciphertexts, and nowhere as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.features.audit.conftest import KEY, rows_of
from tests.harness.databases import connected
from timber import Timber
from timber.features.encryption import CallableKeyRing, EncryptionProvider, KeySet

MODELS = """
version: 1
models:
  - name: Patient
    table: patients
    columns:
      - {name: number, type: Integer, nullable: false, unique: true}
      - {name: ssn, type: String(20)}
      - {name: notes, type: JSONB}
    features:
      encryption: {columns: [ssn, notes], searchable: [ssn]}
      audit: true
"""


async def test_digests_are_of_what_was_given(
    bare_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    ring = CallableKeyRing(lambda: KeySet("k1", {"k1": b"k" * 32}))
    async with Timber(
        bare_database_url,
        model_config_dirs=[tmp_path],
        providers=[EncryptionProvider(ring)],
        audit_key=KEY,
    ) as timber:
        await timber.db.create_all_tables()
        log, patients = timber.audit, rows_of(timber, "Patient")
        one = (await patients.insert({"number": 1, "ssn": "canary-1", "notes": {"a": 1}})).id
        two, three = await patients.insert_many(
            [{"number": n, "ssn": f"canary-{n}"} for n in (2, 3)]
        )
        await patients.update(one, {"notes": {"b": 2}}, merge="notes")
        await patients.upsert({"number": 2, "ssn": "canary-22"}, on="number")
        await patients.update_where({"ssn": "canary-0"}, patients.where.number < 3)

        merged, inserted = (await log.history("Patient", one)).items[1:]
        assert log.proves(inserted, "ssn", "canary-1")
        assert log.proves(inserted, "notes", {"a": 1})
        assert not log.proves(inserted, "ssn", "canary-2")
        assert log.proves(merged, "notes", {"a": 1, "b": 2})
        changed, upserted, copied = (await log.history("Patient", two)).items
        assert log.proves(copied, "ssn", "canary-2")
        assert log.proves(upserted, "ssn", "canary-22")
        assert log.proves(changed, "ssn", "canary-0")
        assert log.proves((await log.history("Patient", three)).items[0], "ssn", "canary-3")
        assert all("ssn_blind" not in entry.fields for entry in (changed, upserted, copied))
    assert not [line for line in caplog.messages if "sealed" in line], "no tables, nothing to seal"
    async with connected(bare_database_url) as connection:
        for table in ("patients", "timber_audit"):
            rows = await connection.fetch(f"SELECT t::text AS t FROM {table} AS t")
            assert rows
            assert not any("canary" in row["t"] or b"canary".hex() in row["t"] for row in rows)
