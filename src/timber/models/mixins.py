"""Groups of columns that models take together; the built-in ones and those a user registers."""

from __future__ import annotations

from typing import Final

from timber.models.column_types import ColumnType
from timber.models.columns import ColumnConfig, ColumnDefault, ColumnName, Declaration, Sequence

_MOMENT = ColumnType("DateTime")


class Mixin(Declaration):
    """Columns that a model gets by naming the mixin."""

    name: str
    """The name in a model's `mixins`."""
    columns: Sequence[ColumnConfig]
    """The columns it adds, after the model's own."""
    owner: ColumnName | None = None
    """Which of them holds the owner of a row, if one does."""


TIMESTAMPS: Final = Mixin(
    name="Timestamps",
    columns=(
        ColumnConfig(
            name="created_at",
            type=_MOMENT,
            nullable=False,
            default=ColumnDefault("now"),
            read_only=True,
            comment="When it was made.",
        ),
        ColumnConfig(
            name="updated_at",
            type=_MOMENT,
            nullable=False,
            default=ColumnDefault("now"),
            read_only=True,
            comment="When it was last changed.",
        ),
    ),
)

SOFT_DELETE: Final = Mixin(
    name="SoftDelete",
    columns=(
        ColumnConfig(
            name="deleted_at",
            type=_MOMENT,
            read_only=True,
            comment="When it was deleted, if it was.",
        ),
    ),
)

VERSION: Final = Mixin(
    name="Version",
    columns=(
        ColumnConfig(
            name="version",
            type=ColumnType("Integer"),
            nullable=False,
            default=ColumnDefault("literal", 1),
            check="version >= 1",
            read_only=True,
            comment="Counted up by each update.",
        ),
        # Which write made this version, so that one whose connection was lost can be recognised.
        ColumnConfig(name="version_token", type=ColumnType("BigInteger"), hidden=True),
    ),
)

OWNER: Final = Mixin(
    name="Owner",
    columns=(
        ColumnConfig(
            name="user_id",
            type=ColumnType("String", length=255),
            nullable=False,
            comment="The user it belongs to.",
        ),
    ),
    owner="user_id",
)

ACTOR: Final = Mixin(
    name="Actor",
    columns=(
        ColumnConfig(
            name="created_by",
            type=ColumnType("String", length=255),
            read_only=True,
            comment="Who made it.",
        ),
        ColumnConfig(
            name="updated_by",
            type=ColumnType("String", length=255),
            read_only=True,
            comment="Who changed it last.",
        ),
    ),
)

BUILT_IN_MIXINS: Final = (TIMESTAMPS, SOFT_DELETE, VERSION, OWNER, ACTOR)
