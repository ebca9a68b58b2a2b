"""Everything a schema consists of, as PostgreSQL itself writes it down: what pg_dump would say, line by line."""

from __future__ import annotations

from tests.harness.databases import connected

_LISTINGS = (
    """SELECT format('column %s.%s %s %s default %s identity %s generated %s comment %s', a.attrelid::regclass, a.attname,
              format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
              pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, col_description(c.oid, a.attnum))
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON (adrelid, adnum) = (attrelid, attnum)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND attnum > 0 AND NOT attisdropped
        ORDER BY c.relname, a.attnum""",
    """SELECT format('table %s comment %s with %s %s', oid::regclass, obj_description(oid, 'pg_class'), reloptions,
              (SELECT reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid)) FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v') ORDER BY relname""",
    """SELECT format('constraint %s on %s %s', conname, conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY conname, conrelid::regclass::text""",
    """SELECT format('%s valid %s', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
        WHERE c.relnamespace = 'public'::regnamespace ORDER BY c.relname""",
    """SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
        WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace ORDER BY tgname""",
    """SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY proname""",
    "SELECT format('extension %s', extname) FROM pg_extension ORDER BY extname",
)


async def listing(url: str) -> str:
    """The listing of a database, without Alembic's own table."""
    lines = []
    async with connected(url) as connection:
        for query in _LISTINGS:
            lines += [row[0] for row in await connection.fetch(query)]
    return "\n".join(line for line in lines if "alembic_version" not in line)
