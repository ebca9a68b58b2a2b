"""Values that fit nowhere, or hardly, of every kind that callers have handed in."""

from __future__ import annotations

import enum
import math
import random
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pydantic
import sqlalchemy as sa


class Word(str):
    __slots__ = ()


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    ONE = 1


@dataclass
class Point:
    x: int = 1


class Shape(pydantic.BaseModel):
    sides: int = 3


class NoOffset(tzinfo):
    """A zone that does not say which; a datetime in it is naive all the same."""

    def utcoffset(self, _at: datetime | None) -> timedelta | None:
        return None

    def dst(self, _at: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _at: datetime | None) -> str:
        return "nowhere"


FAR_EAST, FAR_WEST = timezone(timedelta(hours=23, minutes=59)), timezone(-timedelta(hours=23))


def deep(levels: int, *, mapping: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if mapping else [value]
    return value


def endless(*, mapping: bool = False) -> Any:
    """It holds itself."""
    if mapping:
        itself: dict[str, Any] = {}
        itself["a"] = itself
        return itself
    around: list[Any] = []
    around.append(around)
    return around


TEXTS: tuple[str, ...] = (
    "", " ", "\t\n", "x", "x" * 65, "x" * 256, "x" * 70_000, "a\0b", "\0", "\ud800", "a\udfff\ud800b", "\uffff",
    "\u202e", "\U0001f600" * 100, "e\u0301" * 100, "'; DROP TABLE sessions; --", "%s %(x)s", "$1", ":x", "{}", "{0.x}",
    "\\N", "null", "nan", "true", "1", "-1", "1e999", "2026-13-45", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00",
    "not-a-uuid", "00000000-0000-0000-0000-000000000000", "{00000000-0000-7000-8000-000000000000}", "*", "a.b", "-",
    "--id", "id desc", "id;", "created_at", "metadata", "e30", "e30=", "AAAA" * 20, "=", "é", "(", "[", "a&b|c", '"', "\\",
)  # fmt: skip

PLAIN: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**15, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64,
    10**30, 0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 1e308, 5e-324,
    Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1e-400"), Decimal("1E+1000000"), Decimal("0.1"),
    b"", b"\xff\0", Fraction(1, 3), 1j,
    datetime(2026, 1, 1), datetime.min, datetime.max, datetime(2026, 1, 1, tzinfo=NoOffset()),  # noqa: DTZ001, DTZ901
    datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=FAR_EAST),
    datetime.max.replace(tzinfo=FAR_WEST), datetime(2026, 1, 1, fold=1, tzinfo=UTC),
    date.min, date.max, time.min, time(1, tzinfo=FAR_WEST), timedelta.max, timedelta.min, timedelta(0), timedelta(1),
    uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.uuid1(),
    Word("research"), Word("\0"), Colour.RED, Level.ONE, Point(), Shape(), Path("x"), re.compile("x"),
    ..., NotImplemented, int, object, dict, Shape, ValueError("x"), len, sa.text("1"), sa.column("x") == 1, sa.select(sa.text("1")),
)  # fmt: skip

MADE: tuple[Callable[[], Any], ...] = (
    object, list, dict, set, tuple, bytearray, lambda: memoryview(b"x"), lambda: frozenset({1}), lambda: range(3),
    lambda: iter([1, "a"]), lambda: (n for n in range(3)), lambda: [None], lambda: [[[]]], lambda: {"": ""},
    lambda: {"a\0": 1}, lambda: {"\ud800": 1}, lambda: {1: 2}, lambda: {None: 1}, lambda: {"a": {1, 2}}, lambda: {"a": object()},
    lambda: deep(100), lambda: deep(5000), lambda: deep(5000, mapping=True), lambda: deep(100_000),
    endless, lambda: endless(mapping=True), lambda: 10**5000, lambda: "x" * 2_000_000, lambda: ["x"] * 2000,
    lambda: {str(n): n for n in range(2000)}, lambda: {f"k{'x' * 5000}": 1}, lambda: [math.nan], lambda: (1, 2), lambda: {"a": 2**70},
)  # fmt: skip


def junk(rng: random.Random, depth: int = 0) -> Any:
    """Any of them, some inside of others."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(TEXTS)
    if kind < 0.7:
        return rng.choice(PLAIN)
    if kind < 0.85 or depth > 2:
        return rng.choice(MADE)()
    inner = [junk(rng, depth + 1) for _ in range(rng.randint(1, 3))]
    if kind < 0.92:
        return inner
    return {rng.choice(["a", "id", "status", "x" * 300, *TEXTS[:20]]): value for value in inner}


def shown(value: object, limit: int = 200) -> str:
    """What a message can hold of a value, whatever it is."""
    try:
        text = ascii(value)
    except (RecursionError, ValueError) as error:
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
