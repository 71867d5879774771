-- Deliveries of webhooks that have not reached their receivers. ``kept``: the content is there, so that it can be sent.

-- name: given_up
-- The last given up first, after a page that ended at $1, $2 (NULL: the first page). $3: one thread; NULL: all.
SELECT run_id, thread_id, url, attempts, ended_at, next_attempt_at, settled_at, attempt_log -> -1 AS last_attempt, kwargs IS NOT NULL AS kept
FROM webhooks
WHERE settled_at IS NOT NULL AND NOT delivered AND (settled_at, run_id) < (coalesce($1::timestamptz, 'infinity'), $2::text)
  AND ($3::text IS NULL OR thread_id = $3)
ORDER BY settled_at DESC, run_id DESC LIMIT $4

-- name: waiting
-- The next ones first, after a page that ended at $1, $2.
SELECT run_id, thread_id, url, attempts, ended_at, next_attempt_at, settled_at, attempt_log -> -1 AS last_attempt, kwargs IS NOT NULL AS kept
FROM webhooks
WHERE next_attempt_at IS NOT NULL AND (next_attempt_at, run_id) > (coalesce($1::timestamptz, '-infinity'), $2::text)
  AND ($3::text IS NULL OR thread_id = $3)
ORDER BY next_attempt_at, run_id LIMIT $4

-- name: to_send_again
-- The first given up first, up to a time ($5): what is given up again meanwhile is not sent without end.
SELECT run_id, thread_id, attempts, settled_at
FROM webhooks
WHERE settled_at IS NOT NULL AND NOT delivered AND (settled_at, run_id) > (coalesce($1::timestamptz, '-infinity'), $2::text)
  AND ($3::text IS NULL OR thread_id = $3) AND kwargs IS NOT NULL AND settled_at <= $5
ORDER BY settled_at, run_id LIMIT $4

-- name: of_runs
SELECT run_id, thread_id, url, attempts, ended_at, next_attempt_at, settled_at, attempt_log -> -1 AS last_attempt, kwargs IS NOT NULL AS kept,
       delivered
FROM webhooks WHERE run_id = ANY ($1::text[])

-- name: counts
-- ``sendable``: those that were given up and have their content.
SELECT (SELECT count(*) FROM webhooks WHERE next_attempt_at IS NOT NULL AND ($1::text IS NULL OR thread_id = $1)) AS waiting,
       count(*) AS given_up, count(*) FILTER (WHERE kwargs IS NOT NULL) AS sendable, now() AS at
FROM webhooks WHERE settled_at IS NOT NULL AND NOT delivered AND ($1::text IS NULL OR thread_id = $1)
