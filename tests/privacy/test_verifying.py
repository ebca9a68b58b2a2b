"""Looking for what is left of a person: a planted row is found wherever it is, and what cannot be seen is no yes."""

from __future__ import annotations

import pytest

from tests.privacy.club import REGISTRY, Club, device_owner, run_sql
from timber.database.manager import AsyncDatabaseManager
from timber.errors import UsageError
from timber.models.config import ModelConfig
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy

ADA, BOB = "user-ada", "user-bob"


async def places_left(privacy: Privacy, person: object = ADA) -> set[str]:
    report = await privacy.verify_deletion(person)  # type: ignore[arg-type]
    assert bool(report) is (not report.left and not report.unseen)
    assert not report.unseen
    return {left.place for left in report.left}


async def test_nothing_is_left_of_somebody_who_was_never_there(
    club: Club, privacy: Privacy
) -> None:
    await club.join(BOB)
    report = await privacy.verify_deletion(ADA)
    assert report
    assert str(report) == f"Nothing is left in {len(report.looked)} places."
    assert {"Post.user_id", "InvoiceLine.invoice_id", "post_tags.post_id"} <= {*report.looked}
    assert {"Post.created_by", "Reaction.seen_by", "timber_erasures"} <= {*report.looked}


@pytest.mark.parametrize("model", ["Post", "Invoice", "Member", "Comment"])
async def test_a_row_that_names_the_person_is_found(
    club: Club, privacy: Privacy, model: str
) -> None:
    bob = await club.join(BOB)
    values = {
        "Post": {"user_id": ADA, "title": "t", "member_id": bob["member"].id},
        "Invoice": {"customer": ADA, "number": 7, "name": "", "address": {}, "amount": 1},
        "Member": {"user_id": ADA, "email": ""},
        "Comment": {"author": ADA, "body": ""},
    }[model]
    column = {"Invoice": "customer", "Comment": "author"}.get(model, "user_id")
    assert await privacy.verify_deletion(ADA)
    row = await club.add(model, **values)
    assert f"{model}.{column}" in await places_left(privacy)
    if model == "Post":  # a soft-deleted one is still there
        await club.repository("Post").delete(row.id)
        assert await places_left(privacy) == {"Post.user_id"}


async def test_a_row_that_is_reached_through_others_is_found(club: Club, privacy: Privacy) -> None:
    ada = await club.join(ADA)
    await privacy.delete_user_data(ADA)
    assert await privacy.verify_deletion(ADA)
    bob = await club.join(BOB, number=2)
    post = await club.add("Post", user_id=ADA, title="t", member_id=bob["member"].id)
    comment = await club.add("Comment", post_id=post.id, body="")
    await club.add("Reaction", comment_id=comment.id, kind="like")
    tag = await club.add("Tag", word="new")
    await club.repository("Post").add_links(post.id, "tags", [tag.id])
    assert await places_left(privacy) == {
        "Post.user_id",
        "Comment.post_id",
        "Reaction.comment_id",
        "post_tags.post_id",
    }
    assert ada


async def test_what_is_personal_in_an_anonymised_row_is_found(club: Club, privacy: Privacy) -> None:
    ada = await club.join(ADA)
    invoices, lines = club.repository("Invoice"), club.repository("InvoiceLine")
    await lines.update(ada["line"].id, {"text": "", "note": None})
    assert await places_left(privacy) >= {"Invoice.customer"}
    assert "InvoiceLine.invoice_id" not in await places_left(privacy)
    await lines.update(ada["line"].id, {"note": "again"})
    assert "InvoiceLine.invoice_id" in await places_left(privacy)
    await invoices.update(ada["invoice"].id, {"customer": "erased-1"})
    assert "Invoice.customer" not in await places_left(privacy)


async def test_a_mention_in_somebody_elses_row_is_found(club: Club, privacy: Privacy) -> None:
    bob = await club.join(BOB)
    await club.repository("Reaction").update(bob["reaction to comment"].id, {"seen_by": ADA})
    assert await places_left(privacy) == {"Reaction.seen_by"}


async def test_a_person_known_by_a_uuid_is_found(club: Club, privacy: Privacy) -> None:
    owner = device_owner(ADA)
    await club.add("Device", owner_id=owner)
    assert await places_left(privacy, owner) == {"Device.owner_id"}
    assert await places_left(privacy, str(owner)) == {"Device.owner_id"}
    assert await places_left(privacy, str(owner).upper()) == {"Device.owner_id"}


async def test_a_table_that_is_missing_is_no_yes(
    club: Club, privacy: Privacy, club_url: str
) -> None:
    await run_sql(club_url, "ALTER TABLE invoice_lines RENAME TO hidden")
    try:
        report = await privacy.verify_deletion(ADA)
    finally:
        await run_sql(club_url, "ALTER TABLE hidden RENAME TO invoice_lines")
    assert not report
    assert not report.left
    assert [unseen.place for unseen in report.unseen] == ["InvoiceLine.invoice_id"]
    assert "InvoiceLine.invoice_id: cannot look" in str(report)


async def test_a_table_that_may_not_be_read_is_no_yes(
    club: Club, club_url: str, privacy: Privacy
) -> None:
    await run_sql(
        club_url,
        "DROP ROLE IF EXISTS peeper",
        "CREATE ROLE peeper LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO peeper",
        "REVOKE SELECT ON invoices FROM peeper",
    )
    from sqlalchemy import make_url

    url = make_url(club_url).set(username="peeper").render_as_string(hide_password=False)
    peeping = AsyncDatabaseManager(url)
    try:
        report = await Privacy(peeping, REGISTRY).verify_deletion(ADA)
        assert not report
        assert {unseen.place for unseen in report.unseen} == {
            "Invoice.customer",
            "InvoiceLine.invoice_id",
        }
        # A policy hides rows instead of refusing to show them.
        await run_sql(
            club_url,
            "GRANT SELECT ON invoices TO peeper",
            "ALTER TABLE invoices ENABLE ROW LEVEL SECURITY",
        )
        report = await Privacy(peeping, REGISTRY).verify_deletion(ADA)
        assert not report
        assert "Invoice.customer" in {unseen.place for unseen in report.unseen}
    finally:
        await peeping.dispose()
        await run_sql(
            club_url,
            "ALTER TABLE invoices DISABLE ROW LEVEL SECURITY",
            "DROP OWNED BY peeper",
            "DROP ROLE peeper",
        )


async def test_a_server_that_cannot_be_reached_is_no_yes(db: AsyncDatabaseManager) -> None:
    gone = AsyncDatabaseManager("postgresql://nobody@127.0.0.1:1/none")
    try:
        report = await Privacy(gone, REGISTRY).verify_deletion(ADA)
    finally:
        await gone.dispose()
    assert not report
    assert len(report.unseen) == len(report.looked)


async def test_a_model_that_does_not_say_whose_its_rows_are_is_no_yes(
    db: AsyncDatabaseManager,
) -> None:
    models = [
        ModelConfig.model_validate({"name": "Diary", "table": "diaries", "mixins": ["Owner"]}),
        ModelConfig.model_validate(
            {
                "name": "Leaf",
                "table": "leaves",
                "columns": [{"name": "session_id", "type": "UUID", "foreign_key": "Session.id"}],
            }
        ),
    ]
    registry = ModelRegistry(models=models)
    report = await Privacy(db, registry).verify_deletion(ADA)
    assert not report
    reasons = {unseen.place: unseen.reason for unseen in report.unseen}
    assert "it has an owner, user_id" in reasons["Diary"]
    assert "its session_id refers to Session" in reasons["Leaf"]


async def test_it_does_not_look_inside_a_transaction(
    db: AsyncDatabaseManager, privacy: Privacy
) -> None:
    async with db.unit_of_work():
        with pytest.raises(UsageError, match="outside of any unit of work"):
            await privacy.verify_deletion(ADA)
