-- Queries of the health view.

-- name: runs
-- Runs in flight: their number, and how long the oldest have waited, in seconds. ``unblocked``: those that need only a free worker.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'running') AS running,
       count(*) FILTER (WHERE status = 'pending' AND not_before > now()) AS delayed,
       extract(epoch FROM max(now() - created_at) FILTER (WHERE status = 'pending'))::float8 AS longest_wait_s,
       extract(epoch FROM max(now() - dispatched_at) FILTER (WHERE status = 'pending' AND attempt > 0))::float8 AS unblocked_wait_s
FROM runs WHERE status IN ('pending', 'running')

-- name: oldest
-- The run that has waited longest for a worker.
SELECT run_id, thread_id FROM runs WHERE status = 'pending' AND attempt > 0 ORDER BY dispatched_at LIMIT 1

-- name: parked
SELECT count(DISTINCT key) AS keys, count(*) AS records FROM dead_letters WHERE state IN ('bad', 'behind')

-- name: webhooks
-- Deliveries that are not settled, the next one first.
SELECT run_id, thread_id, url, attempts, ended_at, next_attempt_at, attempt_log -> -1 AS last_attempt,
       count(*) OVER () AS total
FROM webhooks WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT $1

-- name: webhooks_given_up
SELECT count(*) FROM webhooks WHERE settled_at IS NOT NULL AND NOT delivered
