"""A copy of everything that is about a person, and only of that."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.privacy.club import Club
from timber.errors import UsageError, ValidationError
from timber.privacy.exporting import check_export
from timber.privacy.privacy import Privacy

ADA, BOB = "user-ada", "user-bob"


async def exported(privacy: Privacy, person: Any, batch: int = 500) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in privacy.export_user_data(person, batch=batch)]


async def test_an_export_has_every_row_of_the_person_and_nobody_elses(
    club: Club, privacy: Privacy
) -> None:
    made = await club.join(ADA)
    await club.join(BOB, number=2)
    header, *rows, end = await exported(privacy, ADA)
    assert header["timber_export"] == 1
    assert header["person"] == ADA
    models = [line.get("model") or line.get("links") for line in rows]
    assert models == sorted(models, key=models.index)
    assert {name: models.count(name) for name in models} == {
        "Comment": 2,
        "Invoice": 1,
        "InvoiceLine": 1,
        "Member": 1,
        "Post": 2,
        "post_tags.post_id": 1,
        "Reaction": 2,
    }
    posts = [line["row"] for line in rows if line.get("model") == "Post"]
    assert [post["id"] for post in posts] == [str(made["post"].id), str(made["reply"].id)]
    assert posts[1]["deleted_at"] is not None
    invoice = next(line["row"] for line in rows if line.get("model") == "Invoice")
    assert invoice == json.loads(made["invoice"].model_dump_json())
    manifest = end["manifest"]
    assert manifest["rows"] == len(rows)
    assert manifest["parts"]["Post"]["rows"] == 2
    assert manifest["parts"]["Device"]["rows"] == 0
    assert not any(BOB in json.dumps(line) for line in [header, *rows, end])


async def test_rows_come_in_the_same_order_whatever_the_batch(club: Club, privacy: Privacy) -> None:
    await club.join(ADA)
    for number in range(2, 9):
        await club.add("Comment", author=ADA, body=str(number))
    whole = (await exported(privacy, ADA))[1:-1]
    for batch in (1, 3, 9):
        assert (await exported(privacy, ADA, batch))[1:-1] == whole


async def test_values_that_are_not_json_are_written_so_that_they_can_be_read_again(
    club: Club, privacy: Privacy
) -> None:
    from tests.privacy.club import device_owner

    seen = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    owner = device_owner(ADA)
    await club.add("Device", owner_id=owner, token=b"\x00\xff", seen_at=seen)
    _, line, _ = await exported(privacy, owner)
    row = line["row"]
    assert base64.b64decode(row["token"]) == b"\x00\xff"
    assert datetime.fromisoformat(row["seen_at"]) == seen
    assert row["owner_id"] == str(owner)


async def test_of_somebody_unknown_there_is_a_header_and_a_manifest(privacy: Privacy) -> None:
    lines = await exported(privacy, "nobody")
    assert len(lines) == 2
    assert lines[1]["manifest"]["rows"] == 0


async def test_an_export_that_is_left_early_holds_no_connection(
    club: Club, privacy: Privacy
) -> None:
    await club.join(ADA)
    lines = privacy.export_user_data(ADA, batch=1)
    async for line in lines:
        if b'"model"' in line:
            assert club.db.get_pool_status()["checked_out"] == 0
            break
    await lines.aclose()


async def test_a_file_is_there_when_it_is_complete_and_only_its_owner_can_read_it(
    club: Club, privacy: Privacy, tmp_path: Path
) -> None:
    await club.join(ADA)
    path = tmp_path / "ada.jsonl"
    manifest = await privacy.write_user_data(ADA, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert check_export(path) == manifest
    assert manifest.rows == 10
    assert [each.name for each in tmp_path.iterdir()] == ["ada.jsonl"]


async def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    club: Club, privacy: Privacy, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="Cannot write"):
        await privacy.write_user_data(ADA, tmp_path / "missing" / "ada.jsonl")
    with pytest.raises(UsageError, match="Cannot write"):
        await privacy.write_user_data(ADA, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "added", "moved", "behind"])
async def test_a_file_that_is_not_as_it_was_written_is_found_out(
    club: Club, privacy: Privacy, tmp_path: Path, damage: str
) -> None:
    await club.join(ADA)
    path = tmp_path / "ada.jsonl"
    await privacy.write_user_data(ADA, path)
    lines = path.read_bytes().splitlines(keepends=True)
    match damage:
        case "cut":
            lines = lines[:-1]
        case "changed":
            lines[2] = lines[2].replace(b"that", b"this").replace(b"user", b"usex")
        case "removed":
            del lines[3]
        case "added":
            lines.insert(3, lines[3])
        case "moved":
            lines[1], lines[2] = lines[2], lines[1]
        case "behind":
            lines.append(lines[1])
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValidationError, match="export"):
        check_export(path)
