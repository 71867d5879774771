-- What time has to say about runs. All of it by the partial indexes on runs in flight.

-- name: threads_of_runs
SELECT run_id, thread_id FROM runs WHERE run_id = ANY ($1::text[]) AND status IN ('pending', 'running')

-- name: dispatched_runs
SELECT run_id, thread_id, attempt, status = 'running' AS started
FROM runs WHERE status IN ('pending', 'running') AND attempt > 0 AND dispatched_at < now() - make_interval(secs => $1)

-- name: overdue_runs
SELECT run_id, thread_id, attempt
FROM runs WHERE status = 'running' AND started_at < now() - make_interval(secs => $1)

-- name: due_runs
SELECT run_id, thread_id FROM runs WHERE status = 'pending' AND attempt = 0 AND not_before <= now()

-- name: next_due
SELECT extract(epoch FROM min(not_before) - now())::float8 FROM runs
WHERE status = 'pending' AND attempt = 0 AND not_before IS NOT NULL AND not_before > now()
