-- Reads of crons.

-- name: get
SELECT * FROM crons WHERE cron_id = $1

-- name: search
-- $1 assistant, $2 thread, $3 enabled, $4 metadata, each may be null. One row beyond the limit shows that there is a further page.
SELECT {columns} FROM crons
WHERE ($1::text IS NULL OR assistant_id = $1)
  AND ($2::text IS NULL OR thread_id = $2)
  AND ($3::boolean IS NULL OR enabled = $3)
  AND ($4::jsonb IS NULL OR metadata @> $4)
  AND {visible}
ORDER BY {order} LIMIT $5 OFFSET $6

-- name: count
SELECT count(*) FROM crons
WHERE ($1::text IS NULL OR assistant_id = $1)
  AND ($2::text IS NULL OR thread_id = $2)
  AND ($3::jsonb IS NULL OR metadata @> $3)
  AND {visible}

-- name: of_thread
SELECT cron_id FROM crons WHERE thread_id = $1

-- name: thread_exists
SELECT EXISTS (SELECT FROM threads WHERE thread_id = $1)

-- name: thread_of
SELECT thread_id FROM crons WHERE cron_id = $1

-- name: of_owner
-- Crons of identity $1, cron $2 left out, counted up to $3.
SELECT count(*) FROM (SELECT FROM crons WHERE user_id = $1 AND cron_id <> $2 LIMIT $3) AS found

-- name: due
-- Members that determine when a cron fires next.
SELECT schedule, timezone, next_run_date, ends_at, enabled FROM crons WHERE cron_id = $1
