"""Erasing a person: their rows go or lose what is personal, and nobody else's change."""

from __future__ import annotations

import asyncio

import pytest

from tests.privacy.club import REGISTRY, Club, device_owner, naming, pictures, run_sql
from timber.context import acting_as
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ConfigurationError, ConflictError, UsageError, ValidationError
from timber.privacy.erasing import ErasureProgress
from timber.privacy.privacy import Privacy

ADA, BOB = "user-ada", "user-bob"
OTHERS = f"NOT row::text LIKE '%{ADA}%'"


async def test_every_row_of_the_person_is_deleted_or_loses_what_is_personal(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    made = await club.join(ADA)
    report = await privacy.delete_user_data(ADA)
    assert report
    assert report.done == {
        "Reaction": {"deleted": 2},
        "Comment": {"deleted": 2},
        "post_tags": {"deleted": 1},
        "Post": {"deleted": 2},
        "Member": {"deleted": 1},
        "InvoiceLine": {"anonymised": 1},
        "Invoice": {"anonymised": 1},
    }
    assert await naming(club_url, ADA) == {}
    invoice = await club.repository("Invoice").get(made["invoice"].id)
    assert (invoice.name, invoice.address, invoice.email) == ("", {}, None)
    assert (invoice.number, invoice.amount, invoice.version) == (1, made["invoice"].amount, 2)
    assert invoice.customer.startswith("erased-")
    line = await club.repository("InvoiceLine").get(made["line"].id)
    assert (line.text, line.note, line.invoice_id) == ("", None, invoice.id)
    assert await privacy.verify_deletion(ADA)


async def test_nobody_elses_rows_change(club: Club, privacy: Privacy, club_url: str) -> None:
    await club.join(BOB, number=2)
    before = await pictures(club_url)
    await club.join(ADA)
    assert await privacy.delete_user_data(ADA)
    after = await pictures(club_url, "NOT row::text LIKE '%erased-%'")
    lines = after.pop("invoice_lines"), before.pop("invoice_lines")
    assert lines[0][0] == lines[1][0] + 1  # the emptied one, which names nobody
    del after["timber_erasures"], before["timber_erasures"]
    assert after == before
    assert not await privacy.verify_deletion(BOB)


async def test_a_person_is_found_by_a_uuid_in_one_model_and_as_text_in_others(
    club: Club, privacy: Privacy
) -> None:
    owner = device_owner(ADA)
    await club.add("Device", owner_id=owner)
    await club.add("Device", owner_id=device_owner(BOB))
    await club.add("Member", user_id=str(owner), email="a@example.com")
    report = await privacy.delete_user_data(owner)
    assert report.done == {"Device": {"deleted": 1}, "Member": {"deleted": 1}}
    assert await club.repository("Device").count() == 1


async def test_references_of_others_to_rows_that_go_are_emptied(
    club: Club, privacy: Privacy
) -> None:
    ada, bob = await club.join(ADA), await club.join(BOB, number=2)
    posts, comments = club.repository("Post"), club.repository("Comment")
    await posts.update(bob["post"].id, {"reply_to": ada["post"].id})
    theirs = await club.add("Comment", author=BOB, post_id=ada["post"].id, body="from bob")
    await club.repository("Member").update(bob["member"].id, {"invited_by": ada["member"].id})
    report = await privacy.delete_user_data(ADA)
    assert report
    assert (await posts.get(bob["post"].id)).reply_to is None
    kept = await comments.get(theirs.id)
    assert (kept.post_id, kept.body) == (None, "from bob")
    assert (await club.repository("Member").get(bob["member"].id)).invited_by is None
    assert report.done["Member"] == {"emptied": 1, "deleted": 1}


async def test_an_erasure_is_refused_where_rows_of_others_would_be_lost(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    ada, bob = await club.join(ADA), await club.join(BOB, number=2)
    await club.repository("Post").update(bob["post"].id, {"member_id": ada["member"].id})
    before = await pictures(club_url)
    with pytest.raises(ConflictError, match=r"1 rows of Post .* Member by member_id"):
        await privacy.delete_user_data(ADA)
    assert await pictures(club_url) == before


async def test_where_the_person_is_named_in_rows_of_others_the_name_is_cut(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    bob = await club.join(BOB, number=2)
    with acting_as(ADA):
        await club.repository("Post").update(bob["post"].id, {"title": "edited"})
        await club.add("Post", user_id=BOB, member_id=bob["member"].id, title="by ada")
    await club.repository("Reaction").update(bob["reaction to comment"].id, {"seen_by": ADA})
    assert await naming(club_url, ADA) == {"posts": 2, "reactions": 1}
    report = await privacy.delete_user_data(ADA)
    assert report.done == {"Post": {"emptied": 2}, "Reaction": {"emptied": 1}}
    assert await naming(club_url, ADA) == {}
    assert await privacy.verify_deletion(ADA)


async def test_who_erases_themselves_leaves_no_name_in_what_stays(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    bob = await club.join(BOB, number=2)
    ada = await club.join(ADA)
    await club.repository("Post").update(bob["post"].id, {"reply_to": ada["post"].id})
    with acting_as(ADA):
        assert await privacy.delete_user_data(ADA)
    assert await naming(club_url, ADA) == {}


async def test_an_erasure_repeated_changes_nothing(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    await club.join(ADA)
    await privacy.delete_user_data(ADA)
    before = await pictures(club_url)
    report = await privacy.delete_user_data(ADA)
    assert report
    assert report.rows == 0
    assert not report.resumed
    del before["timber_erasures"]
    after = await pictures(club_url)
    del after["timber_erasures"]
    assert after == before


async def test_small_batches_do_the_same_and_tell_how_far_they_are(
    club: Club, privacy: Privacy
) -> None:
    await club.join(ADA)
    told: list[ErasureProgress] = []
    report = await privacy.delete_user_data(ADA, batch=1, progress=told.append)
    assert report.rows == 10
    assert [step.rows for step in told] == list(range(1, 11))
    assert all(step.rows <= step.total <= 10 for step in told)
    assert await privacy.verify_deletion(ADA)


async def test_what_goes_wrong_in_a_progress_callback_stops_it_and_it_goes_on_later(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    await club.join(ADA)

    async def stop(step: ErasureProgress) -> None:
        if step.rows == 5:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await privacy.delete_user_data(ADA, batch=1, progress=stop)
    assert await privacy.unfinished_erasures() == [ADA]
    verified = await privacy.verify_deletion(ADA)
    assert "timber_erasures" in {left.place for left in verified.left}
    report = await privacy.delete_user_data(ADA)
    assert report
    assert report.resumed
    assert report.rows == 10
    assert await privacy.unfinished_erasures() == []
    assert await naming(club_url, ADA) == {}


async def test_two_processes_share_one_erasure(
    club: Club, privacy: Privacy, db: AsyncDatabaseManager
) -> None:
    for number in range(5):
        await club.add(
            "Invoice", customer=ADA, number=number, name="Ada", address={}, amount=number
        )
    reports = await asyncio.gather(
        privacy.delete_user_data(ADA, batch=1), Privacy(db, REGISTRY).delete_user_data(ADA, batch=1)
    )
    assert all(reports)
    assert sum(report.rows for report in reports if not report.resumed) == 5
    assert await privacy.verify_deletion(ADA)


async def test_what_the_person_writes_meanwhile_is_met_in_another_round(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    made = await club.join(ADA)
    late: list[str] = []

    async def write(step: ErasureProgress) -> None:
        if step.name == "Invoice" and not late:
            late.append("line under what is anonymised by now")
            await club.add("InvoiceLine", invoice_id=made["invoice"].id, text=ADA, price=1)
            await club.add("Comment", author=ADA, body="I am still here")

    report = await privacy.delete_user_data(ADA, progress=write)
    assert report
    assert report.rounds == 3
    assert await naming(club_url, ADA) == {}


async def test_an_erasure_does_not_run_inside_a_transaction(
    privacy: Privacy, db: AsyncDatabaseManager
) -> None:
    async with db.unit_of_work():
        with pytest.raises(UsageError, match="outside of any unit of work"):
            await privacy.delete_user_data(ADA)


@pytest.mark.parametrize("person", ["", "  ", "a\0b", None, True, 1.5])
async def test_what_is_no_id_is_refused(privacy: Privacy, person: object) -> None:
    with pytest.raises(ValidationError, match="user_id"):
        await privacy.delete_user_data(person)  # type: ignore[arg-type]


async def test_what_rules_of_the_table_forbid_is_found_before_anything_is_done(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    await club.join(ADA)
    await run_sql(club_url, "ALTER TABLE invoices ADD CONSTRAINT named CHECK (name <> '')")
    before = await pictures(club_url)
    try:
        with pytest.raises(ConfigurationError, match="Invoice cannot be anonymised"):
            await privacy.delete_user_data(ADA)
        assert await pictures(club_url) == before
    finally:
        await run_sql(club_url, "ALTER TABLE invoices DROP CONSTRAINT named")


async def test_what_an_erasure_leaves_of_itself_names_nobody(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    await club.join(ADA)
    report = await privacy.delete_user_data(ADA)
    rows = await club.db.fetch(
        Statement("SELECT id, person, stand_in, finished_at FROM timber_erasures", label="look")
    )
    assert [(row["id"], row["person"], row["stand_in"]) for row in rows] == [
        (report.id, None, None)
    ]
    assert rows[0]["finished_at"] is not None
