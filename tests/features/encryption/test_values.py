"""Every type comes back as it went in; equal values of searchable columns have equal digests."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import orjson
import pytest
from asyncpg.pgproto import pgproto
from hypothesis import given
from hypothesis import strategies as st

from tests.features.encryption.models import Keys, feature, read, some_id, stored
from tests.models.every_type import TYPES, VALUES
from timber.errors import ValidationError
from timber.features.encryption import EncryptionProvider
from timber.features.encryption.values import SEARCHABLE, codec
from timber.models.column_types import ColumnType
from timber.models.registry import ModelRegistry
from timber.models.values import type_adapter

KINDS = {name: ColumnType.parse(kind) for name, kind in TYPES.items()}

MODEL = f"""
version: 1
models:
  - name: Thing
    table: things
    columns:
{"".join(f'      - {{name: {name}, type: "{kind}"}}' + chr(10) for name, kind in TYPES.items())}
    features:
      encryption:
        columns: [{", ".join(TYPES)}]
        searchable: [{", ".join(n for n, k in KINDS.items() if k.kind in SEARCHABLE)}]
"""


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    file = tmp_path_factory.mktemp("things") / "models.yaml"
    file.write_text(MODEL)
    return feature("Thing", EncryptionProvider(Keys()), ModelRegistry(files=[file]))


def same(one, other):
    """Equal, of one type, and with the same digits."""
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, datetime):
        return one == other and other.utcoffset() == timedelta(0)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
async def test_a_value_comes_back_as_the_type_it_went_in(things, name, data):
    value = type_adapter(KINDS[name], nullable=False).validate_python(data.draw(VALUES[name]))
    (kept,) = await stored(things, [{name: value}])
    assert isinstance(kept[name], bytes)
    (back,) = await read(things, kept)
    if KINDS[name].kind in ("JSON", "JSONB"):
        assert back[name] == orjson.loads(orjson.dumps(value))
    else:
        assert same(value, back[name])


@pytest.mark.parametrize("name", TYPES)
async def test_null_stays_null(things, name):
    (kept,) = await stored(things, [{name: None}])
    assert set(kept.values()) - {kept["id"]} == {None}
    assert (await read(things, kept))[0][name] is None


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("amount", Decimal("1.5"), Decimal("1.500")),
        ("amount", Decimal(0), Decimal("-0.00")),
        ("exact", Decimal("1E+2"), Decimal(100)),
        (
            "moment",
            datetime(2024, 1, 1, 12, tzinfo=UTC),
            datetime.fromisoformat("2024-01-01T14+02:00"),
        ),
        ("span", timedelta(hours=24), timedelta(days=1)),
        ("integer", 5, 5),
        ("raw", b"x", b"x"),
        ("label", "low", "low"),
    ],
)
async def test_what_postgresql_takes_for_equal_has_the_same_digest(things, name, one, other):
    first, second = await stored(things, [{name: one}, {name: other}])
    assert first[f"{name}_blind"] == second[f"{name}_blind"]
    assert things.stored_forms(name, [one]) == (f"{name}_blind", [first[f"{name}_blind"]])


@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if k.kind in SEARCHABLE])
@given(data=st.data())
async def test_digests_are_equal_exactly_where_values_are(things, name, data):
    check = type_adapter(KINDS[name], nullable=False).validate_python
    one, other = check(data.draw(VALUES[name])), check(data.draw(VALUES[name]))
    _, digests = things.stored_forms(name, [one, other])
    assert (digests[0] == digests[1]) == (one == other)


async def test_the_same_value_has_another_digest_in_another_column_and_under_another_key():
    keys = Keys()
    accounts = feature("Account", EncryptionProvider(keys))
    _, (mail,) = accounts.stored_forms("mail", ["1"])
    _, (balance,) = accounts.stored_forms("balance", [Decimal(1)])
    assert mail[5:] != balance[5:]
    keys.add("two")
    _, both = accounts.stored_forms("mail", ["1"])
    assert len(set(both)) == 2
    assert mail in both
    (kept,) = await stored(accounts, [{"mail": "1"}])
    assert kept["mail_blind"] == both[1]


async def test_a_column_that_is_not_searchable_has_no_digests():
    accounts = feature("Account", EncryptionProvider(Keys()))
    assert accounts.stored_forms("iban", ["x"]) is None


async def test_numbers_have_the_places_of_their_column(things):
    (kept,) = await stored(things, [{"amount": Decimal("1.5"), "exact": Decimal("1.50")}])
    (back,) = await read(things, kept)
    assert str(back["amount"]) == "1.500"
    assert str(back["exact"]) == "1.50"


async def test_json_that_cannot_be_stored_is_refused_with_its_row_and_path():
    accounts = feature("Account", EncryptionProvider(Keys()))
    rows = [{"details": {"a": 1}}, {"details": {"b": [float("nan")]}}, {"details": {1: 2}}]
    with pytest.raises(ValidationError) as caught:
        await stored(accounts, rows)
    assert [problem.field for problem in caught.value.errors] == ["1.details.b.0", "2.details"]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("String(9)", "a"),
        ("BigInteger", 7),
        ("Date", date(2024, 2, 29)),
        ("Time", time(1, 2, 3)),
        ("DateTime", datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
        ("Numeric(8, 2)", Decimal("1.50")),
        ("UUID", some_id(3)),
        ("Binary", b"k"),
    ],
)
def test_a_key_has_the_same_bytes_when_it_comes_from_the_driver(kind, key):
    from_driver = {
        "DateTime": lambda value: value.astimezone(UTC),
        "Numeric(8, 2)": lambda value: value.quantize(Decimal("0.01")),
        "UUID": lambda value: pgproto.UUID(str(value)),
    }.get(kind, lambda value: value)
    bytes_of = codec(ColumnType.parse(kind), "key").digested
    assert bytes_of(key) == bytes_of(from_driver(key))


async def test_ids_come_back_as_uuids_of_the_standard_library(things):
    (kept,) = await stored(things, [{"key": some_id(9)}])
    assert type((await read(things, kept))[0]["key"]) is UUID
