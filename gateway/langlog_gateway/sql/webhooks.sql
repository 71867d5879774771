-- Deliveries of webhooks. Written by the projector alone.

-- name: of_run
SELECT run_id, thread_id, url, ended_at, settled_at, delivered, next_attempt_at, attempt_log
FROM webhooks WHERE run_id = $2 AND thread_id = $1

-- name: run_exists
SELECT EXISTS (SELECT FROM runs WHERE run_id = $2 AND thread_id = $1)
