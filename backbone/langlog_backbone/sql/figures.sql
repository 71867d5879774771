-- Metrics of the whole deployment, as gateways export them.

-- name: runs
-- Runs in flight by graph: their number in each state, and how long the oldest dispatched one has waited, in seconds.
SELECT graph_id,
       count(*) FILTER (WHERE status = 'running') AS running,
       count(*) FILTER (WHERE status = 'pending' AND attempt > 0) AS waiting,
       count(*) FILTER (WHERE status = 'pending' AND attempt = 0 AND not_before > now()) AS delayed,
       count(*) FILTER (WHERE status = 'pending' AND attempt = 0 AND (not_before IS NULL OR not_before <= now())) AS blocked,
       coalesce(extract(epoch FROM max(now() - dispatched_at) FILTER (WHERE status = 'pending' AND attempt > 0)), 0)::float8 AS oldest_s
FROM runs WHERE status IN ('pending', 'running') GROUP BY graph_id ORDER BY count(*) DESC LIMIT $1

-- name: parked
-- Uses the partial index on records that wait.
SELECT count(DISTINCT key) AS keys, count(*) AS records FROM dead_letters WHERE state IN ('bad', 'behind')

-- name: webhooks
SELECT count(*) AS waiting, greatest(coalesce(extract(epoch FROM now() - min(next_attempt_at)), 0), 0)::float8 AS late_s
FROM webhooks WHERE next_attempt_at IS NOT NULL

-- name: webhooks_given_up
SELECT count(*) FROM webhooks WHERE settled_at IS NOT NULL AND NOT delivered

-- name: crons
SELECT count(*) AS due, coalesce(extract(epoch FROM now() - min(next_run_date)), 0)::float8 AS late_s
FROM crons WHERE enabled AND (ends_at IS NULL OR next_run_date <= ends_at) AND next_run_date <= now()
