-- Positions of events in the log, by thread and run. Only the projector writes them.

-- name: places
-- $2: the first bucket; $3: a run, or null; $4 and $5: times between which an event of the bucket must lie, or null.
SELECT bucket, run_id, entries
FROM thread_events
WHERE thread_id = $1 AND bucket >= $2 AND ($3::text IS NULL OR run_id = $3)
  AND ($4::timestamptz IS NULL OR last_at >= $4) AND ($5::timestamptz IS NULL OR first_at <= $5)
ORDER BY bucket, run_id LIMIT $6

-- name: thread_of_run
-- A run that was rolled back or removed has its events in the index of its thread.
SELECT thread_id FROM runs WHERE run_id = $1

-- name: thread_of_events
SELECT thread_id FROM thread_events WHERE run_id = $1 LIMIT 1
