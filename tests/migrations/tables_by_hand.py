"""Tables that SQLAlchemy can declare and YAML cannot, for an env.py that has a MetaData of its own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import DDL


def tables(*moods: str) -> sa.MetaData:
    metadata = sa.MetaData()
    mood = sa.Enum(*moods, name="mood", metadata=metadata)
    shelves = sa.Table(
        "shelves",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),  # a serial
        sa.Column("name", sa.String(20, collation="C"), nullable=False),
        sa.Column("mood", mood, server_default="good"),
        sa.Column("reserved", postgresql.TSTZRANGE),
        sa.Column("seen", postgresql.TIMESTAMP(precision=3)),
        postgresql.ExcludeConstraint(("reserved", "&&"), name="shelves_reserved_once"),
        sa.UniqueConstraint(
            "name", "mood", postgresql_nulls_not_distinct=True, name="shelves_named"
        ),
        sa.Index(
            "shelves_lower", sa.text("lower(name) DESC"), postgresql_where=sa.text("mood = 'good'")
        ),
    )
    sa.Table(
        "Items",
        metadata,
        sa.Column("Key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "shelf",
            sa.ForeignKey(shelves.c.id, name="items_shelf", deferrable=True, initially="DEFERRED"),
        ),
        sa.Column("weight", sa.Numeric(6, 2), sa.CheckConstraint("weight > 0", name="items_heavy")),
        sa.Index("ix_Items", "shelf", "Key"),
        schema="stock",
        comment="Not in the default schema.",
    )
    audit = DDL("""
        CREATE OR REPLACE FUNCTION timber_touch() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.seen := '2026-01-01 00:00:00'; RETURN NEW; END $$""")
    sa.event.listen(shelves, "before_create", audit)
    trigger = DDL(
        "CREATE TRIGGER timber_touching BEFORE INSERT ON shelves FOR EACH ROW EXECUTE FUNCTION timber_touch()"
    )
    sa.event.listen(shelves, "after_create", trigger)
    return metadata


def without_trigger(metadata: sa.MetaData) -> sa.MetaData:
    """The same tables with nothing hung on them."""
    plain = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(plain)
    return plain
