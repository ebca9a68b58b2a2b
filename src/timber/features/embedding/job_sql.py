"""The SQL of embedding jobs. Nothing here waits for a lock, so that no writer ever has a deadlock with the worker."""

from __future__ import annotations

from typing import Final

# The conflict's WHERE sees the job as it is, whatever the statement's snapshot: two writers of one row come one after
# the other, and so do a writer and the worker. A text that is stored again as it was changes nothing.
QUEUE: Final = """\
INSERT INTO "{jobs}" AS job (row_key, text_hash)
SELECT w."{key}", {hash} FROM written AS w
ON CONFLICT (row_key) DO UPDATE
   SET text_hash = excluded.text_hash, state = '{pending}', attempts = 0, reason = NULL,
       queued_at = now(), available_at = now(), claim = NULL, claimed_until = NULL
 WHERE job.text_hash IS DISTINCT FROM excluded.text_hash"""

QUEUE_MISSING: Final = """\
WITH missing AS MATERIALIZED (
  SELECT t."{key}", {hash} AS text_hash FROM "{table}" AS t
   WHERE NOT EXISTS (SELECT FROM "{jobs}" AS j WHERE j.row_key = t."{key}")
   LIMIT $1::integer FOR NO KEY UPDATE OF t SKIP LOCKED)
INSERT INTO "{jobs}" (row_key, text_hash) SELECT * FROM missing
ON CONFLICT DO NOTHING RETURNING row_key"""

QUEUE_OTHERS: Final = """\
WITH picked AS MATERIALIZED (
  SELECT row_key FROM "{jobs}" WHERE state = '{done}' AND recipe IS DISTINCT FROM $1::text
   LIMIT $2::integer FOR NO KEY UPDATE SKIP LOCKED)
UPDATE "{jobs}" AS j
   SET state = '{pending}', attempts = 0, reason = NULL, queued_at = now(), available_at = now()
  FROM picked AS p WHERE j.row_key = p.row_key RETURNING j.row_key"""

QUEUE_CHANGED: Final = """\
WITH page AS MATERIALIZED (
  SELECT row_key, text_hash FROM "{jobs}" WHERE $1::{key_type} IS NULL OR row_key > $1::{key_type}
   ORDER BY row_key LIMIT $2::integer
), changed AS MATERIALIZED (
  SELECT j.row_key, {hash} AS text_hash
    FROM page AS p JOIN "{table}" AS t ON t."{key}" = p.row_key JOIN "{jobs}" AS j ON j.row_key = p.row_key
   WHERE p.text_hash <> {hash} FOR NO KEY UPDATE OF t, j SKIP LOCKED
), queued AS (
  UPDATE "{jobs}" AS j
     SET text_hash = c.text_hash, state = '{pending}', attempts = 0, reason = NULL,
         queued_at = now(), available_at = now(), claim = NULL, claimed_until = NULL
    FROM changed AS c WHERE j.row_key = c.row_key RETURNING 1)
SELECT row_key, (SELECT count(*) FROM queued) AS changed
  FROM page ORDER BY row_key DESC LIMIT 1"""

# Nobody waits here for anybody: not for another worker, and not for a writer.
CLAIM: Final = """\
WITH picked AS MATERIALIZED (
  SELECT row_key FROM "{jobs}"
   WHERE state = '{pending}' AND available_at <= now()
     AND (claimed_until IS NULL OR claimed_until <= now())
   ORDER BY available_at LIMIT $1::integer FOR NO KEY UPDATE SKIP LOCKED)
UPDATE "{jobs}" AS j
   SET claim = $2::uuid, claimed_until = now() + make_interval(secs => $3::float8),
       attempts = j.attempts + 1
  FROM picked AS p WHERE j.row_key = p.row_key RETURNING j.row_key, j.attempts"""

MEASURE: Final = """\
SELECT t."{key}" AS key, length({text}) AS length
  FROM "{table}" AS t WHERE t."{key}" = ANY($1::{key_type}[])"""

READ: Final = """\
SELECT s.key, s.text, {hash_of_text} AS text_hash
  FROM (SELECT t."{key}" AS key, {text} AS text
          FROM "{table}" AS t WHERE t."{key}" = ANY($1::{key_type}[])) AS s"""

STORED: Final = """\
SELECT row_key, text_hash, number, start, length, embedder = $2::text AS is_ours
  FROM "{chunks}" WHERE row_key = ANY($1::{key_type}[])"""

# Somebody's own SQL may have changed the text past Timber; what is embedded is the text that was read.
ADOPT: Final = """\
WITH picked AS MATERIALIZED (
  SELECT j.row_key, r.text_hash
    FROM "{jobs}" AS j JOIN unnest($1::{key_type}[], $2::bytea[]) AS r(row_key, text_hash)
      ON j.row_key = r.row_key AND j.text_hash <> r.text_hash
   WHERE j.claim = $3::uuid FOR NO KEY UPDATE OF j SKIP LOCKED)
UPDATE "{jobs}" AS j SET text_hash = p.text_hash
  FROM picked AS p WHERE j.row_key = p.row_key RETURNING j.row_key"""

# The fence: a job that is still claimed under this very token and still for this very text, held until the vectors are
# in. A writer who is at the job just now is not waited for: the text is about to change.
STORE: Final = """\
WITH fence AS MATERIALIZED (
  SELECT j.row_key, r.finished
    FROM "{jobs}" AS j
    JOIN unnest($1::{key_type}[], $2::bytea[], $3::boolean[]) AS r(row_key, text_hash, finished)
      ON r.row_key = j.row_key AND r.text_hash = j.text_hash
   WHERE j.claim = $4::uuid AND j.state = '{pending}'
     FOR NO KEY UPDATE OF j SKIP LOCKED), made AS (
  SELECT * FROM unnest($5::{key_type}[], $6::bytea[], $7::integer[], $8::integer[], $9::integer[],
                       $10::text[])
             AS m(row_key, text_hash, number, start, length, embedding)
), stored AS (
  INSERT INTO "{chunks}" (row_key, text_hash, number, start, length, embedder, embedding)
  SELECT m.row_key, m.text_hash, m.number, m.start, m.length, $11::text, m.embedding::vector
    FROM made AS m JOIN fence AS f ON f.row_key = m.row_key WHERE m.embedding IS NOT NULL
  ON CONFLICT (row_key, text_hash) DO UPDATE
     SET number = excluded.number, start = excluded.start, length = excluded.length,
         embedder = excluded.embedder, embedding = excluded.embedding
), moved AS (
  UPDATE "{chunks}" AS c SET number = m.number, start = m.start, length = m.length
    FROM made AS m JOIN fence AS f ON f.row_key = m.row_key
   WHERE c.row_key = m.row_key AND c.text_hash = m.text_hash AND m.embedding IS NULL
), gone AS (
  DELETE FROM "{chunks}" AS c
   USING unnest($12::{key_type}[], $13::bytea[]) AS g(row_key, text_hash), fence AS f
   WHERE f.row_key = g.row_key AND c.row_key = g.row_key AND c.text_hash = g.text_hash
)
UPDATE "{jobs}" AS j
   SET state = CASE WHEN f.finished THEN '{done}' ELSE j.state END,
       recipe = CASE WHEN f.finished THEN $14::text ELSE j.recipe END,
       attempts = CASE WHEN f.finished THEN 0 ELSE j.attempts END,
       reason = CASE WHEN f.finished THEN NULL ELSE j.reason END,
       claim = CASE WHEN f.finished THEN NULL ELSE j.claim END,
       claimed_until = CASE WHEN f.finished THEN NULL ELSE now() + make_interval(secs => $15::float8) END
  FROM fence AS f WHERE j.row_key = f.row_key RETURNING j.row_key"""

FAIL: Final = """\
WITH picked AS MATERIALIZED (
  SELECT j.row_key, f.reason, f.final
    FROM "{jobs}" AS j
    JOIN unnest($1::{key_type}[], $2::text[], $3::boolean[]) AS f(row_key, reason, final)
      ON j.row_key = f.row_key
   WHERE j.claim = $4::uuid FOR NO KEY UPDATE OF j SKIP LOCKED)
UPDATE "{jobs}" AS j
   SET state = CASE WHEN p.final OR j.attempts >= $5::integer THEN '{dead}' ELSE j.state END,
       reason = p.reason, claim = NULL, claimed_until = NULL,
       available_at = now() + make_interval(secs =>
         least($6::float8 * power(2, least(j.attempts, 30) - 1), $7::float8) * (0.5 + random() / 2))
  FROM picked AS p WHERE j.row_key = p.row_key RETURNING j.row_key, j.state"""

RELEASE: Final = """\
WITH picked AS MATERIALIZED (
  SELECT row_key FROM "{jobs}" WHERE row_key = ANY($1::{key_type}[]) AND claim = $2::uuid
     FOR NO KEY UPDATE SKIP LOCKED)
UPDATE "{jobs}" AS j
   SET claim = NULL, claimed_until = NULL, attempts = greatest(j.attempts - 1, 0)
  FROM picked AS p WHERE j.row_key = p.row_key RETURNING j.row_key"""

RETRY_DEAD: Final = """\
WITH picked AS MATERIALIZED (
  SELECT row_key FROM "{jobs}" WHERE state = '{dead}' FOR NO KEY UPDATE SKIP LOCKED)
UPDATE "{jobs}" AS j
   SET state = '{pending}', attempts = 0, reason = NULL, queued_at = now(), available_at = now()
  FROM picked AS p WHERE j.row_key = p.row_key RETURNING j.row_key"""

DEAD: Final = """\
SELECT row_key, reason, queued_at FROM "{jobs}" WHERE state = '{dead}' ORDER BY row_key LIMIT $1::integer"""

STATUS: Final = """\
SELECT (SELECT count(*) FROM "{table}") AS rows,
       count(*) FILTER (WHERE state = '{done}') AS embedded,
       count(*) FILTER (WHERE state = '{pending}') AS pending,
       count(*) FILTER (WHERE state = '{dead}') AS dead,
       (SELECT count(*) FROM "{chunks}") AS chunks,
       extract(epoch FROM clock_timestamp() - min(queued_at) FILTER (WHERE state = '{pending}'))::float8
         AS oldest_pending_seconds
  FROM "{jobs}\""""
