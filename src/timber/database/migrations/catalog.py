"""What a database contains, in PostgreSQL's own words, so that two of them can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# What PostgreSQL makes of `x IN ('a', 'b')` over a varchar changes once when it is written down and read again.
_CAST_ARRAY = re.compile(
    r"\(ARRAY\[(?P<items>'(?:[^']|'')*'::character varying(?:, '(?:[^']|'')*'::character varying)*)\]\)::text\[\]"
)
_ITEM = re.compile(r"'(?:[^']|'')*'::character varying")

OWN_PREFIX: Final = "timber_"
"""Functions and triggers of this beginning are the library's: left over, they are dropped."""


def settled(expression: str) -> str:
    """The form of an expression that stays as it is when it is written down and read again."""
    return _CAST_ARRAY.sub(
        lambda match: f"ARRAY[{_ITEM.sub(lambda item: f'({item[0]})::text', match['items'])}]",
        expression,
    )


@dataclass(frozen=True, slots=True)
class Expression:
    """A piece of SQL: as PostgreSQL shows it, by which it is compared, and as somebody wrote it."""

    shown: str
    written: str = field(compare=False)

    @classmethod
    def of(cls, shown: str) -> Expression:
        """One that is known only as PostgreSQL shows it."""
        return cls(settled(shown), shown)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    nullable: bool = True
    default: Expression | None = None
    generated: Expression | None = None
    identity: Literal["", "a", "d"] = ""
    collation: str | None = None
    comment: str | None = None
    serial: bool = field(default=False, compare=False)
    """Whether the default is a sequence of its own."""
    uses: tuple[str, ...] = field(default=(), compare=False)
    """The columns that a generated one is made from."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint: ``p`` primary key, ``u`` unique, ``f`` foreign key, ``c`` check, ``x`` exclusion."""

    name: str
    kind: str
    definition: str
    valid: bool = True
    columns: tuple[str, ...] = field(default=(), compare=False)
    check: Expression | None = None
    target: str | None = field(default=None, compare=False)
    target_columns: tuple[str, ...] = field(default=(), compare=False)
    on_delete: str | None = field(default=None, compare=False)
    on_update: str | None = field(default=None, compare=False)
    plain: bool = field(default=True, compare=False)
    """Whether the attributes above say everything that the definition does."""


@dataclass(frozen=True, slots=True)
class IndexKey:
    """A column or expression of an index."""

    expression: Expression
    is_column: bool = True
    operators: str | None = None
    collation: str | None = None
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index that no constraint stands for."""

    name: str
    unique: bool
    method: str
    keys: tuple[IndexKey, ...]
    include: tuple[str, ...] = ()
    where: Expression | None = None
    options: frozenset[str] = frozenset()
    nulls_not_distinct: bool = False
    valid: bool = True
    uses: frozenset[str] = field(default=frozenset(), compare=False)
    """The columns without which it cannot be."""
    options_in_order: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with everything that hangs on it."""

    name: str
    """With the schema before it where that is not the default one."""
    columns: Mapping[str, Column]
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    indexes: Mapping[str, Index] = field(default_factory=dict)
    triggers: Mapping[str, str] = field(default_factory=dict)
    comment: str | None = None
    options: tuple[str, ...] = field(default=(), compare=False)
    """Storage parameters that a new table gets; of one that is there they are its administrator's business."""

    @property
    def schema(self) -> str | None:
        """The schema, where it is not the default one."""
        return self.name.rpartition(".")[0] or None

    @property
    def bare_name(self) -> str:
        """The name without the schema."""
        return self.name.rpartition(".")[2]

    def of_kind(self, *kinds: str) -> list[Constraint]:
        """The constraints of some kinds, by name."""
        return [c for c in self.constraints.values() if c.kind in kinds]

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return next((c.columns for c in self.of_kind("p")), ())


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables of some schemas and what they need."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    """Name with argument types -> definition."""
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
