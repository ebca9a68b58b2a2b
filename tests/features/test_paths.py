"""Whichever way a row goes in or out, the features of its model see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from timber import DTO, Timber
from timber.database.statements import Statement
from timber.errors import ConflictError, ValidationError
from timber.repository.scheduling import Rounds
from timber.testing import count_queries


def patient(number: int, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "user_id": "u",
        "ssn": f"ssn-{number}",
        "notes": {"n": number},
        **more,
    }


async def stored(timber: Timber, columns: str = "ssn, notes") -> list[Any]:
    rows = await timber.db.fetch(
        Statement(f"SELECT {columns} FROM patients ORDER BY number", label="")
    )
    return [tuple(row) for row in rows]


async def recorded(timber: Timber) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = await timber.db.fetch(
        Statement("SELECT verb, row, fields FROM records ORDER BY n", label="")
    )
    return [(row["verb"], row["row"], tuple(row["fields"])) for row in rows]


async def test_a_new_row_is_stored_in_another_form_and_comes_back_as_it_was(clinic, patients):
    made = await patients.insert(patient(1))
    assert (made.ssn, made.notes) == ("ssn-1", {"n": 1})
    ssn, notes = (await stored(clinic))[0]
    assert b"of" in ssn
    assert b"of" in notes
    assert (await patients.get(made.id)).notes == {"n": 1}
    assert [(verb, row) for verb, row, _ in await recorded(clinic)] == [("insert", str(made.id))]


async def test_many_rows_by_copy_and_by_insert_are_seen_by_every_feature(clinic, patients):
    keys = await patients.insert_many([patient(n) for n in range(3)])
    more = await patients.insert_many_returning([patient(n) for n in range(3, 5)])
    assert [p.ssn for p in more] == ["ssn-3", "ssn-4"]
    assert all(b"of" in ssn for ssn, _ in await stored(clinic))
    rows = [row for verb, row, _ in await recorded(clinic) if verb == "insert"]
    assert set(rows) == {str(key) for key in [*keys, *(p.id for p in more)]}
    assert await stored(clinic, "recorded_as") == [("new",)] * 5


async def test_an_update_stores_the_new_value_in_its_form(clinic, patients):
    made = await patients.insert(patient(1))
    changed = await patients.update(made.id, {"ssn": "other", "ward": "A"})
    assert (changed.ssn, changed.ward) == ("other", "A")
    assert (await recorded(clinic))[-1][0] == "update"
    assert {"ssn", "ward"} <= set((await recorded(clinic))[-1][2])


async def test_a_merge_into_a_column_that_postgresql_cannot_read_keeps_the_other_keys(
    clinic, patients
):
    made = await patients.insert(patient(1))
    changed = await patients.update(made.id, {"notes": {"more": True}}, merge="notes")
    assert changed.notes == {"n": 1, "more": True}


async def test_update_where_gives_each_row_a_form_of_its_own(clinic, patients):
    await patients.insert_many([patient(n) for n in range(700)])
    assert await patients.update_where({"ssn": "same"}, patients.where.number < 600) == 600
    found = await patients.find(ssn="same", limit=1000)
    assert len(found) == 600
    assert len({ssn for ssn, _ in await stored(clinic)}) == 700
    assert sum(1 for verb, *_ in await recorded(clinic) if verb == "update") == 600


async def test_update_where_of_other_columns_is_one_statement(clinic, patients):
    await patients.insert_many([patient(n) for n in range(3)])
    assert await patients.update_where({"ward": "B"}, patients.where.number < 2) == 2
    assert sum(1 for verb, *_ in await recorded(clinic) if verb == "update") == 2


async def test_an_upsert_inserts_and_then_changes(clinic, patients):
    first = await patients.upsert(patient(7), on="number")
    second = await patients.upsert(patient(7, ssn="new", ward="C"), on="number")
    assert (second.id, second.ssn, second.ward, second.version) == (first.id, "new", "C", 2)
    assert [verb for verb, *_ in await recorded(clinic)] == ["insert", "update"]


async def test_an_upsert_of_somebody_elses_row_is_a_conflict(clinic, patients):
    await patients.upsert(patient(7), on="number")
    with pytest.raises(ConflictError):
        await patients.upsert(patient(7, user_id="other"), on="number")


async def test_deletions_are_seen_soft_hard_and_by_filters(clinic, patients):
    keys = await patients.insert_many([patient(n) for n in range(5)])
    await patients.delete(keys[0])
    await patients.restore(keys[0])
    await patients.delete(keys[0], hard=True)
    assert await patients.delete_where(number=1) == 1
    assert await patients.delete_where(number=2, hard=True) == 1
    assert await patients.trim(number=3) == 1
    seen = [(verb, row) for verb, row, _ in await recorded(clinic) if verb != "insert"]
    first, second, third, fourth, _ = map(str, keys)
    assert seen == [
        ("update", first),
        ("update", first),
        ("delete", first),
        ("update", second),
        ("delete", third),
        ("delete", fourth),
    ]


async def test_claims_rounds_and_links_are_seen(clinic, patients):
    made = await patients.insert(patient(1))
    doctor = await clinic.repository("Doctor", clinic.registry.read_dto("Doctor")).insert(
        {"name": "Who"}
    )
    claimed = await patients.claim(limit=1, lease=timedelta(seconds=9))
    assert [p.ssn for p in claimed] == ["ssn-1"]
    await patients.release(made.id)
    await patients.finish(
        [made.id], at=datetime.now(UTC), rounds=Rounds("last_round", "next_round", "every")
    )
    assert await patients.add_links(made.id, "doctors", [doctor.id]) == 1
    await patients.set_links(made.id, "doctors", [])
    fields = [fields for verb, _, fields in await recorded(clinic) if verb == "update"]
    assert fields == [
        ("claimed_until",),
        ("claimed_until",),
        ("claimed_until", "last_round", "next_round"),
        ("doctors",),
        ("doctors",),
    ]


async def test_every_way_of_reading_gives_values_back(clinic, patients):
    class VisitDTO(DTO):
        reason: str

    class WithVisits(DTO):
        ssn: str
        visits: list[VisitDTO]

    keys = await patients.insert_many([patient(n, ward="east") for n in range(3)])
    visits = clinic.repository("Visit", clinic.registry.read_dto("Visit"))
    await visits.insert({"patient_id": keys[0], "reason_code": 1, "reason": "cough"})
    want = ["ssn-0", "ssn-1", "ssn-2"]
    assert [p.ssn for p in await patients.find(order_by="number")] == want
    assert [p.ssn for p in await patients.get_many(keys)] == want
    assert [p.ssn for p in (await patients.page(order_by="number")).items] == want
    assert [p.ssn for p in (await patients.scroll(order_by="number")).items] == want
    assert {hit.item.ssn for hit in await patients.search("east")} == set(want)
    async with patients.stream(order_by="number") as rows:
        assert [p.ssn async for p in rows] == want
    async with clinic.unit_of_work():
        assert (await patients.for_update(keys[1])).ssn == "ssn-1"
    nested = await patients.get(keys[0], into=WithVisits)
    assert (nested.ssn, [v.reason for v in nested.visits]) == ("ssn-0", ["cough"])


async def test_equal_values_are_found_where_the_column_is_searchable(clinic, patients):
    await patients.insert_many([patient(n) for n in range(3)] + [patient(9, ssn=None)])
    where = patients.where
    assert [p.number for p in await patients.find(ssn="ssn-1")] == [1]
    assert await patients.count(where.ssn.in_(["ssn-0", "ssn-2", "no"])) == 2
    assert await patients.count(where.ssn != "ssn-0") == 2
    assert await patients.count(where.ssn.is_null()) == 1
    assert await patients.count(~(where.ssn == "ssn-0")) == 2
    assert await patients.count(~where.notes.is_null()) == 4


@pytest.mark.parametrize(
    "ask",
    [
        lambda p: p.find(p.where.ssn > "a"),
        lambda p: p.find(p.where.ssn.like("a%")),
        lambda p: p.find(notes={"n": 1}),
        lambda p: p.find(p.where.notes["n"] == 1),
        lambda p: p.find(order_by="ssn"),
        lambda p: p.scroll(order_by="-ssn"),
        lambda p: p.count_by("ssn"),
        lambda p: p.find(p.model.ssn == b"x"),
        lambda p: p.insert(patient(1, ssn_blind=b"x")),
        lambda p: p.insert(patient(1, recorded_as="x")),
        lambda p: p.update(uuid4(), {"ssn_blind": b"x"}),
    ],
)
async def test_what_postgresql_cannot_do_with_another_form_is_refused_by_name(patients, ask):
    with pytest.raises(ValidationError, match=r"ssn|notes|recorded_as"):
        await ask(patients)


async def test_a_write_and_what_goes_with_it_are_one_statement(clinic, patients):
    with count_queries(clinic.db) as queries:
        made = await patients.insert(patient(1))
        await patients.update(made.id, {"ssn": "2"})
        await patients.delete(made.id)
    assert queries.labels == ["insert Patient", "update Patient", "delete Patient"]


async def test_what_goes_with_a_write_is_rolled_back_with_it(clinic, patients):
    with pytest.raises(RuntimeError):
        async with clinic.unit_of_work():
            await patients.insert(patient(1))
            await patients.insert_many([patient(2)])
            raise RuntimeError
    assert await recorded(clinic) == []
    assert await stored(clinic) == []
