"""Whose data the rows of a model are, and what is left of a row when its person has been erased."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from timber.models.column_types import INTEGER_KINDS, JSON_KINDS, SEARCH_VECTOR, TEXT_KINDS
from timber.models.mixins import ACTOR, SOFT_DELETE, TIMESTAMPS, VERSION
from timber.models.stored import blind_index, is_encrypted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from timber.models.columns import ColumnConfig
    from timber.models.config import ModelConfig
    from timber.models.feature_configs import PersonalDataConfig

_NOBODY: Final = "erased-"
_SHORTEST: Final = 16
"""Characters that a person's column must have for a stand-in that nobody else gets."""
_KEPT_BY_LIBRARY: Final = {
    mixin.name: frozenset(column.name for column in mixin.columns)
    for mixin in (TIMESTAMPS, SOFT_DELETE, VERSION)
}


class Unfit(NamedTuple):
    """A column that cannot be anonymised, and why."""

    column: str
    why: str


def person_column(config: ModelConfig) -> str | None:
    """The column with the id of the person that a row is about; None where another row knows it, or nobody."""
    personal = config.features.personal_data
    return (personal.person if personal is not None else None) or config.owner


def mentions(config: ModelConfig) -> tuple[str, ...]:
    """The columns that may hold the id of somebody else than the row is about."""
    personal = config.features.personal_data
    declared = personal.mentions if personal is not None else ()
    by_mixin = tuple(c.name for c in ACTOR.columns) if ACTOR.name in config.mixins else ()
    return tuple(dict.fromkeys((*declared, *by_mixin)))


def stand_in(config: ModelConfig, column: str, token: UUID) -> Any:
    """What takes the place of a person's id in an anonymised row: the same in all rows of one erasure."""
    declared = config.column(column)
    if declared.foreign_key is None and declared.type.kind == "UUID":
        return token
    if declared.foreign_key is None and declared.type.kind in TEXT_KINDS:
        length = declared.type.length or 64
        if length >= _SHORTEST:
            return f"{_NOBODY}{token.hex}"[:length]
    return None


def neutral_values(config: ModelConfig) -> dict[str, Any]:
    """What the personal columns of an anonymised row hold, the person's own column and references aside."""
    return {
        column.name: None if column.nullable else _neutral(column)
        for column in _neutralised(config)
    }


def unfit_columns(config: ModelConfig) -> Iterator[Unfit]:
    """The columns that stand in the way of anonymising the rows of a model."""
    personal = config.features.personal_data
    if personal is None or personal.on_erasure == "delete":
        return
    person = person_column(config)
    if person is not None and person in config.column_names:
        why = _unfit_person(config, config.column(person))
        if why is not None:
            yield Unfit(person, why)
    for column in _neutralised(config):
        why = _unfit(config, column, personal)
        if why is not None:
            yield Unfit(column.name, why)
    encryption = config.features.encryption
    if encryption is not None and encryption.per_person and personal.columns:
        for name in encryption.columns:
            if name not in personal.columns and personal.on_erasure == "anonymise":
                yield Unfit(name, "is lost with the person's key, so it belongs in `columns`")


def _neutralised(config: ModelConfig) -> list[ColumnConfig]:
    personal = config.features.personal_data
    assert personal is not None
    encryption = config.features.encryption
    wanted = set(personal.columns or _all_personal(config))
    if encryption is not None and personal.on_erasure == "destroy_key":
        wanted |= set(encryption.columns)
    # A keyed digest would still be found by whoever guesses the value.
    wanted |= {blind_index(name) for name in wanted if is_encrypted(config, name)}
    wanted -= {person_column(config)}
    return [column for column in config.columns if column.name in wanted]


def _all_personal(config: ModelConfig) -> Iterator[str]:
    feed = config.features.feed
    library = {feed.column} if feed is not None else set()
    for mixin, names in _KEPT_BY_LIBRARY.items():
        if mixin in config.mixins:
            library |= names
    for column in config.columns:
        made = column.generated is not None or column.identity or column.type.kind == SEARCH_VECTOR
        leads = column.primary_key or column.foreign_key is not None
        if not made and not leads and column.name not in library:
            yield column.name


def _unfit_person(config: ModelConfig, column: ColumnConfig) -> str | None:
    if column.primary_key:
        return "is the key of the row, which cannot be replaced: use `on_erasure: delete`"
    if column.generated is not None or column.identity:
        return "is made by PostgreSQL, so it cannot be replaced: use `on_erasure: delete`"
    if not column.nullable and stand_in(config, column.name, UUID(int=0)) is None:
        what = "a reference" if column.foreign_key is not None else str(column.type)
        return f"is {what}, for which there is no stand-in: make it nullable"
    return None


def _unfit(config: ModelConfig, column: ColumnConfig, personal: PersonalDataConfig) -> str | None:
    if column.primary_key:
        return "is the key of the row, which cannot be emptied: use `on_erasure: delete`"
    if column.generated is not None or column.type.kind == SEARCH_VECTOR:
        return "is generated: name the columns that it is made from"
    if column.nullable:
        return None
    why = None
    if is_encrypted(config, column.name) and not _can_be_encrypted(config, personal):
        why = "is encrypted and has no empty value"
    elif column.foreign_key is not None:
        why = "is a reference and has no empty value"
    elif _in_unique(config, column):
        why = "is unique, so no two rows can be emptied alike"
    elif _neutral(column) is None:
        why = f"is {column.type}, which has no empty value"
    return None if why is None else f"{why}: make it nullable"


def _can_be_encrypted(config: ModelConfig, personal: PersonalDataConfig) -> bool:
    """Whether an empty value can be stored as ciphertext, although it does not show that it is one."""
    encryption = config.features.encryption
    per_person = encryption is not None and encryption.per_person
    return not per_person and personal.through is None


def _in_unique(config: ModelConfig, column: ColumnConfig) -> bool:
    return (
        column.unique
        or any(column.name in (constraint.unique or ()) for constraint in config.constraints)
        or any(index.unique and column.name in index.column_names for index in config.indexes)
    )


_NEUTRAL: Final[dict[str, Callable[[], Any]]] = {
    **dict.fromkeys(TEXT_KINDS, str),
    **dict.fromkeys(INTEGER_KINDS, int),
    **dict.fromkeys(JSON_KINDS, dict),
    "Float": float,
    "Numeric": Decimal,
    "Boolean": bool,
    "Binary": bytes,
    "Array": list,
    "Interval": timedelta,
    "Date": lambda: date(1970, 1, 1),
    "Time": time,
    "DateTime": lambda: datetime(1970, 1, 1, tzinfo=UTC),
    "UUID": lambda: UUID(int=0),
}


def _neutral(column: ColumnConfig) -> Any:
    """A value that says nothing, for a column that may not be NULL; None where its type has none."""
    default = column.default
    if default is not None and default.kind == "literal":
        return default.maker(lambda: datetime.now(UTC))()
    if column.type.labels:
        return column.type.labels[0]
    make = _NEUTRAL.get(column.type.kind)
    return None if make is None else make()
