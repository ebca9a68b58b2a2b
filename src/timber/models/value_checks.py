"""The checks of single values that pydantic's core has no schema for."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from pydantic_core import PydanticCustomError

from timber.dto import encode_json
from timber.errors import ValidationError

_INFINITE = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _refuse(problem: str) -> PydanticCustomError:
    return PydanticCustomError("timber_value", "{problem}", {"problem": problem})


def without_nul(value: str) -> str:
    """Text that PostgreSQL can store."""
    if "\0" in value:
        raise _refuse("holds a NUL character, which PostgreSQL cannot store")
    return value


def exact_number(value: object) -> Decimal:
    """A decimal number out of what holds one exactly."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            raise _refuse("is not a decimal number") from None
    raise _refuse("expected a Decimal, an int or a decimal number as a string")


def not_a_number(value: object) -> object:
    """What pydantic may read as a date, time or duration."""
    # pydantic reads 5 and "5" as seconds since 1970 (or as a duration), which nobody meant.
    if isinstance(value, bool | int | float | Decimal) or (
        isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdigit()
    ):
        raise _refuse("is a number; write a date, time or duration or its ISO 8601 text")
    return value


def plain_date(value: object) -> object:
    """A date that loses no time of day."""
    if isinstance(value, datetime) or (isinstance(value, str) and len(value) > 10):
        raise _refuse("has a time of day; give the date alone")
    return not_a_number(value)


def moment(value: object) -> object:
    """A datetime, or the text of one."""
    if isinstance(value, date) and not isinstance(value, datetime):
        raise _refuse("is a date without a time of day")
    return not_a_number(value)


def within_utc(value: datetime) -> datetime:
    """A datetime that PostgreSQL can turn to UTC."""
    if not 1 < value.year < 9999:
        try:
            moment = value.astimezone(UTC)
        except OverflowError:
            raise _refuse("is outside the years 1 to 9999 in UTC") from None
        if moment in _INFINITE:
            raise _refuse("is what the driver takes for infinity; use None or a nearer time")
    return value


def standard_uuid(value: object) -> UUID:
    """A UUID of the standard library."""
    if type(value) is UUID:
        return value
    if isinstance(value, UUID):  # a driver's own subclass, which JSON encoders refuse
        return UUID(int=value.int)
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise _refuse("is not a UUID")


def plain_bytes(value: object) -> bytes:
    """Bytes, or the base64 text of some."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _refuse("is text that is not base64") from None
    raise _refuse("expected bytes")


def base64_text(value: bytes) -> str:
    """Bytes as JSON carries them."""
    return base64.b64encode(value).decode()


def not_null(value: object) -> object:
    """Any JSON value but null, which the column itself would be."""
    if value is None:
        raise _refuse("must not be None")
    return value


def checked_json(value: object) -> object:
    """A JSON value that can be stored."""
    not_null(value)
    try:
        encode_json(value, "")
    except ValidationError as error:
        path, problem = error.errors[0]
        raise _refuse(f"{problem} (at {path.lstrip('.')})" if path else problem) from None
    return value
