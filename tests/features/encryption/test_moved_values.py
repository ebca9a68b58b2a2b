"""A ciphertext is good in one place and as it was written: anywhere else, or with one bit changed, it is refused."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.features.encryption.models import FILE, Keys, feature, read, some_id, stored
from timber.errors import DecryptionError, EncryptionError, KeyNotFoundError
from timber.features.encryption import EncryptionProvider
from timber.features.encryption.envelopes import ID_AT, NONCE
from timber.models.registry import ModelRegistry

COLUMNS = ("iban", "mail", "details", "photo", "balance")


def row(number: int, **more):
    text = {"iban": f"iban-{number}", "mail": f"mail-{number}", "details": {"n": number}}
    return {"id": some_id(number), **text, "photo": b"photo", "balance": Decimal(number), **more}


@pytest.fixture
def keys():
    return Keys("one", "two")


@pytest.fixture
def accounts(keys):
    return feature("Account", EncryptionProvider(keys))


async def test_what_was_written_is_read(accounts):
    (kept,) = await stored(accounts, [row(1)])
    assert all(isinstance(kept[name], bytes) for name in COLUMNS)
    (back,) = await read(accounts, kept)
    assert {name: back[name] for name in COLUMNS} == {name: row(1)[name] for name in COLUMNS}


async def test_every_value_moved_to_every_other_row_and_column_is_refused(accounts, keys, tmp_path):
    kept = await stored(accounts, [row(1), row(2)])
    keys.add("two")
    kept += await stored(accounts, [row(3), row(4)])
    letters = feature("Letter", EncryptionProvider(keys))
    kept_letters = await stored(
        letters, [{"code": f"{some_id(n)}", "iban": "i", "body": "b"} for n in (1, 2)], key="code"
    )
    # The same table in another model file, with the same columns and rows.
    elsewhere = tmp_path / "models.yaml"
    elsewhere.write_text(FILE.read_text().replace("table: accounts", "table: accounts_2"))
    other = ModelRegistry(files=[elsewhere], built_in=False)
    others = feature("Account", EncryptionProvider(keys), other)
    kept_others = await stored(others, [row(1), row(2)])
    places = [
        *((accounts, each, name) for each in kept for name in COLUMNS),
        *((letters, each, name) for each in kept_letters for name in ("iban", "body")),
        *((others, each, name) for each in kept_others for name in COLUMNS),
    ]
    tried = 0
    for (_, source, of), (target, there, name) in itertools.permutations(places, 2):
        with pytest.raises(DecryptionError, match=rf"\.{name} "):
            await read(target, {**there, name: source[of]})
        tried += 1
    assert tried == 34 * 33


async def test_every_bit_of_a_value_counts(accounts):
    (kept,) = await stored(accounts, [row(1)])
    for name in COLUMNS:
        envelope = kept[name]
        for bit in range(len(envelope) * 8):
            flipped = bytearray(envelope)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(EncryptionError):
                await read(accounts, {**kept, name: bytes(flipped)})


async def test_every_truncation_and_extension_is_refused(accounts):
    (kept,) = await stored(accounts, [row(1)])
    for name in COLUMNS:
        envelope = kept[name]
        for length in range(len(envelope)):
            for part in (envelope[:length], envelope[length + 1 :]):
                with pytest.raises(EncryptionError):
                    await read(accounts, {**kept, name: part})
        for longer in (envelope + b"\0", b"\0" + envelope, envelope * 2):
            with pytest.raises(EncryptionError):
                await read(accounts, {**kept, name: longer})


async def test_parts_of_two_values_of_the_same_place_do_not_fit_together(accounts):
    first, second = await stored(accounts, [row(1), row(1)])
    for name in COLUMNS:
        begin = ID_AT + len("one")
        cuts = (begin, begin + NONCE, len(first[name]) - 16)
        for cut in cuts:
            if len(first[name]) == len(second[name]) and cut != begin:
                mixed = first[name][:cut] + second[name][cut:]
                with pytest.raises(DecryptionError):
                    await read(accounts, {**first, name: mixed})


async def test_a_value_is_not_good_under_the_name_of_another_key(accounts, keys):
    (kept,) = await stored(accounts, [row(1)])
    for name in COLUMNS:
        renamed = kept[name].replace(b"one", b"two", 1)
        with pytest.raises(DecryptionError, match="'two'"):
            await read(accounts, {**kept, name: renamed})


async def test_the_name_of_a_key_is_bound_even_where_two_names_have_one_key(accounts, keys):
    keys.replace("two", keys.keys["one"])
    (kept,) = await stored(accounts, [row(1)])
    for name in COLUMNS:
        renamed = kept[name].replace(b"one", b"two", 1)
        with pytest.raises(DecryptionError, match="'two'"):
            await read(accounts, {**kept, name: renamed})


async def test_the_type_of_a_value_is_bound(accounts, keys, tmp_path):
    (kept,) = await stored(accounts, [row(1)])
    retyped = tmp_path / "models.yaml"
    retyped.write_text(FILE.read_text().replace("photo, type: Binary", "photo, type: Text"))
    other = feature("Account", EncryptionProvider(keys), ModelRegistry(files=[retyped]))
    with pytest.raises(DecryptionError, match="another type than Text"):
        await read(other, kept)
    tag = bytes((1,))
    with pytest.raises(DecryptionError, match="was changed"):
        await read(other, {**kept, "photo": kept["photo"][:2] + tag + kept["photo"][3:]})


async def test_a_row_given_another_key_cannot_be_read(accounts):
    (kept,) = await stored(accounts, [row(1)])
    with pytest.raises(DecryptionError, match="moved here from another row"):
        await read(accounts, {**kept, "id": some_id(2)})


async def test_plaintext_and_other_bytes_are_not_taken_for_values(accounts):
    for found in (
        b"",
        b"plain text",
        b"\1",
        b"\1\0\1\0",
        b"\1\0\1\x40" + b"x" * 80,
        b"\xff" * 60,
        b"\1\0\1\x14not the name of a key" + b"x" * 60,
    ):
        with pytest.raises(DecryptionError, match="not encrypted by Timber"):
            await read(accounts, {"id": some_id(1), "iban": found})


async def test_a_missing_key_is_named(accounts, keys):
    (kept,) = await stored(accounts, [row(1)])
    keys.primary = "two"
    keys.remove("one")
    with pytest.raises(KeyNotFoundError, match=r"'one'.*it has 'two'") as caught:
        await read(accounts, kept)
    assert caught.value.key_id == "one"


async def test_a_wrong_key_is_named_and_nothing_of_it_is_shown(accounts, keys):
    (kept,) = await stored(accounts, [row(1)])
    wrong = b"WRONG-CANARY-KEY-WRONG-CANARY-KE"
    keys.replace("one", wrong)
    with pytest.raises(DecryptionError, match="'one'") as caught:
        await read(accounts, kept)
    assert caught.value.key_id == "one"
    assert "CANARY" not in repr(caught.value) + str(vars(caught.value)) + repr(keys.known())
    assert caught.value.__cause__ is None


async def test_a_column_whose_type_has_changed_says_so(accounts, keys):
    (kept,) = await stored(accounts, [row(1)])
    with pytest.raises(DecryptionError, match="another type than JSONB"):
        await read(accounts, {**kept, "details": kept["iban"]})


async def test_the_same_value_is_never_stored_the_same_way_twice(accounts):
    kept = await stored(accounts, [row(1) for _ in range(50)])
    for name in COLUMNS:
        assert len({each[name] for each in kept}) == 50


@given(st.data())
async def test_any_bytes_in_any_place_are_refused(data):
    accounts = feature("Account", EncryptionProvider(Keys()))
    (kept,) = await stored(accounts, [row(1)])
    name = data.draw(st.sampled_from(COLUMNS))
    envelope = kept[name]
    at = data.draw(st.integers(0, len(envelope)))
    until = data.draw(st.integers(at, len(envelope)))
    changed = envelope[:at] + data.draw(st.binary(max_size=8)) + envelope[until:]
    if changed != envelope:
        with pytest.raises(EncryptionError):
            await read(accounts, {**kept, name: changed})
