-- Queries of `langlog why`.

-- name: run
SELECT run_id, thread_id, ordinal, status, attempt, crashes, cancel, superseded_by, not_before, created_at, dispatched_at,
       started_at, ended_at, error ->> 'error' AS error, now() AS now, assistant_id
FROM runs WHERE run_id = $1

-- name: ahead
-- Runs in flight of the thread that come first: dispatched ones, and ready ones that are older.
SELECT run_id FROM runs
WHERE thread_id = $1 AND run_id <> $2 AND status IN ('pending', 'running')
  AND (attempt > 0 OR ordinal < $3 AND (not_before IS NULL OR not_before <= now()))
ORDER BY attempt DESC, ordinal LIMIT 1

-- name: positions
SELECT topic, part, "offset" FROM positions

-- name: parked
SELECT topic || '-' || part || '-' || "offset" || ' ' || COALESCE(error, '') FROM dead_letters
WHERE key = $1 AND state = 'bad' ORDER BY topic = 'commands', topic, part, "offset" LIMIT 1

-- name: parked_keys
SELECT count(DISTINCT key) FROM dead_letters WHERE state IN ('bad', 'behind')

-- name: waits
-- Open interrupts of a run's thread, if the run is the thread's last one; no row if another run follows it.
SELECT status, interrupts FROM threads
WHERE thread_id = $1 AND NOT EXISTS (SELECT FROM runs WHERE thread_id = $1 AND ordinal > $2)

-- name: last_run
-- The run in flight of a thread that is first in line, or else the thread's newest run.
SELECT run_id FROM runs WHERE thread_id = $1
ORDER BY (status IN ('pending', 'running')) DESC, (attempt > 0 AND ended_at IS NULL) DESC,
         CASE WHEN status IN ('pending', 'running') THEN ordinal END, ordinal DESC LIMIT 1

-- name: webhook
-- The delivery of a run's webhook, unless it has reached its receiver.
SELECT run_id, thread_id, url, attempts, ended_at, next_attempt_at, settled_at, attempt_log -> -1 AS last_attempt, kwargs IS NOT NULL AS kept
FROM webhooks WHERE run_id = $1 AND NOT delivered
