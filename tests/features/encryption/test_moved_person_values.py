"""Under the key of a person, too, a ciphertext is good in one place and as it was written."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.features.encryption.models import Keys, feature, read, some_id, stored
from timber.errors import EncryptionError
from timber.features.encryption import EncryptionProvider, PersonKeyFolder

COLUMNS = ("entry", "secret")


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    return EncryptionProvider(Keys("one", "two"), PersonKeyFolder(tmp_path_factory.mktemp("p")))


def page(number, user):
    return {"id": some_id(number), "user_id": user, "entry": f"entry-{number}", "secret": b"s"}


async def test_every_value_moved_to_every_other_person_row_column_and_table_is_refused(provider):
    diaries, medicines = feature("Diary", provider), feature("Medicine", provider)
    users = {1: "ann", 2: "bob", 3: "ann", 4: "bob", 5: "ann"}
    pages = await stored(diaries, [page(n, user) for n, user in users.items()])
    rows = [{"id": some_id(n), "user_id": users[n], "entry": "e"} for n in range(1, 5)]
    pills = await stored(medicines, rows)
    places = [
        *((diaries, each, name) for each in pages for name in COLUMNS),
        *((medicines, each, "entry") for each in pills),
    ]
    tried = 0
    for (source, there, of), (target, here, name) in itertools.permutations(places, 2):
        with pytest.raises(EncryptionError):
            await read(target, {**here, name: there[of]})
        with pytest.raises(EncryptionError):  # the owner along with it
            await read(target, {**here, name: there[of], "user_id": there["user_id"]})
        tried += source is not target
    assert tried == 80


async def test_every_bit_and_every_length_counts(provider):
    diaries = feature("Diary", provider)
    (kept,) = await stored(diaries, [page(1, "ann")])
    for name in COLUMNS:
        envelope = kept[name]
        changed = [envelope[:length] for length in range(len(envelope))]
        changed += [envelope + b"\0", envelope * 2]
        for bit in range(len(envelope) * 8):
            flipped = bytearray(envelope)
            flipped[bit // 8] ^= 1 << bit % 8
            changed.append(bytes(flipped))
        for each in changed:
            with pytest.raises(EncryptionError):
                await read(diaries, {**kept, name: each})


async def test_a_value_of_the_ring_is_not_taken_for_one_of_a_person_nor_the_other_way(provider):
    (mine,) = await stored(feature("Diary", provider), [page(1, "ann")])
    (ours,) = await stored(feature("Account", provider), [{"id": some_id(1), "iban": "x"}])
    for target, name, envelope in (
        ("Account", "iban", mine["entry"]),
        ("Diary", "entry", ours["iban"]),
    ):
        for kind in (0, 1):
            moved = envelope[:1] + bytes((kind,)) + envelope[2:]
            with pytest.raises(EncryptionError):
                await read(
                    feature(target, provider), {"id": some_id(1), "user_id": "ann", name: moved}
                )


@given(st.data())
async def test_any_bytes_are_refused(provider, data):
    diaries = feature("Diary", provider)
    (kept,) = await stored(diaries, [page(1, "ann")])
    envelope = kept["entry"]
    at = data.draw(st.integers(0, len(envelope)))
    until = data.draw(st.integers(at, len(envelope)))
    changed = envelope[:at] + data.draw(st.binary(max_size=8)) + envelope[until:]
    if changed != envelope:
        with pytest.raises(EncryptionError):
            await read(diaries, {**kept, "entry": changed})
