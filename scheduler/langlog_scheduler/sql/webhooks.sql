-- What is to be delivered. By the partial index on deliveries that are not settled.

-- name: due
SELECT run_id, attempts FROM webhooks
WHERE next_attempt_at <= now() AND run_id <> ALL ($1::text[])
ORDER BY next_attempt_at LIMIT $2

-- name: next_due
-- Below zero when one has become due since the last look.
SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM webhooks
WHERE next_attempt_at IS NOT NULL AND run_id <> ALL ($1::text[])

-- name: attempts
SELECT run_id, attempts FROM webhooks WHERE run_id = ANY ($1::text[])

-- name: delivery
SELECT run_id, thread_id, url, status, assistant_id, metadata, multitask_strategy, attempt, created_at, started_at, ended_at, error,
       kwargs, state_values
FROM webhooks WHERE run_id = $1 AND attempts = $2 AND next_attempt_at IS NOT NULL
