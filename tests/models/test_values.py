from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.every_type import LENIENT, TYPES, VALUES, WRONG
from timber.models.column_types import ColumnType
from timber.models.columns import ColumnConfig
from timber.models.values import column_adapter


def column(kind: str, *, nullable: bool = False) -> ColumnConfig:
    return ColumnConfig(name="x", type=ColumnType.parse(kind), nullable=nullable)


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_every_value_of_a_type_is_accepted_unchanged(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    checked = column_adapter(column(TYPES[name])).validate_python(value)
    assert checked == value
    assert type(checked) is type(value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_value_that_the_column_cannot_hold_is_refused(name: str, value: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        column_adapter(column(TYPES[name])).validate_python(value)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [(name, *pair) for name, pairs in LENIENT.items() for pair in pairs],
)
def test_a_value_in_another_form_becomes_the_columns_own(
    name: str, value: object, meant: object
) -> None:
    checked = column_adapter(column(TYPES[name])).validate_python(value)
    assert checked == meant
    assert type(checked) is type(meant)


@pytest.mark.parametrize("name", TYPES)
def test_none_is_for_columns_that_may_be_null(name: str) -> None:
    assert column_adapter(column(TYPES[name], nullable=True)).validate_python(None) is None
    with pytest.raises(pydantic.ValidationError):
        column_adapter(column(TYPES[name])).validate_python(None)


def test_a_drivers_uuid_becomes_one_of_the_standard_library() -> None:
    class DriverUUID(UUID):
        pass

    checked = column_adapter(column("UUID")).validate_python(DriverUUID(int=7))
    assert type(checked) is UUID


def test_a_vector_has_as_many_numbers_as_it_says() -> None:
    adapter = column_adapter(column("Vector(3)"))
    assert adapter.validate_python([1, 2.5, 3]) == [1.0, 2.5, 3.0]
    wrong: list[Any] = [[1, 2], [1, 2, 3, 4], [1, 2, float("nan")], ["1", 2, 3], "123"]
    for value in wrong:
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(value)


def test_the_place_inside_json_is_named() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        column_adapter(column("JSONB")).validate_python({"a": [1, {"b": float("nan")}]})
    assert "(at a.1.b)" in caught.value.errors()[0]["msg"]


@given(st.sampled_from(sorted(TYPES)))
def test_a_type_reads_back_what_it_writes(name: str) -> None:
    kind = ColumnType.parse(TYPES[name])
    assert ColumnType.parse(str(kind)) == kind


@given(st.text(max_size=30))
def test_no_text_makes_a_type_fail_in_its_own_way(text: str) -> None:
    with suppress(ValueError):
        ColumnType.parse(text)
