-- Runs on which time has an effect. All queries use the partial indexes on runs in flight. Parked threads are left alone.

-- name: runs_in_flight
SELECT r.run_id, r.thread_id, r.attempt, r.crashes, r.cancel, r.graph_id, r.temporary, r.status = 'running' AS started,
       t.config
FROM runs r JOIN threads t ON t.thread_id = r.thread_id
WHERE r.run_id = ANY ($1::text[]) AND r.status IN ('pending', 'running') AND NOT EXISTS (
    SELECT 1 FROM dead_letters d WHERE d.key = r.thread_id AND d.state IN ('bad', 'behind')
)

-- name: dispatched_runs
-- ``started``: a worker has begun this attempt, not only an earlier one.
SELECT run_id, thread_id, attempt, status = 'running' AND started_at >= dispatched_at AS started
FROM runs WHERE status IN ('pending', 'running') AND attempt > 0 AND dispatched_at < now() - make_interval(secs => $1) AND NOT EXISTS (
    SELECT 1 FROM dead_letters d WHERE d.key = thread_id AND d.state IN ('bad', 'behind')
)

-- name: overdue_runs
SELECT r.run_id, r.thread_id, r.attempt, r.graph_id, r.temporary, t.config
FROM runs r JOIN threads t ON t.thread_id = r.thread_id
WHERE r.status = 'running' AND r.started_at < now() - make_interval(secs => $1) AND NOT EXISTS (
    SELECT 1 FROM dead_letters d WHERE d.key = r.thread_id AND d.state IN ('bad', 'behind')
)

-- name: due_runs
-- Also returns the time of the query, even when no run is due.
SELECT looked.at, r.run_id, r.thread_id
FROM (SELECT now() AS at) looked
LEFT JOIN runs r ON r.status = 'pending' AND r.attempt = 0 AND r.not_before <= looked.at

-- name: next_due
-- After the query of $1: a run that has become due since then was not returned and is due at once.
SELECT extract(epoch FROM min(not_before) - now())::float8 FROM runs
WHERE status = 'pending' AND attempt = 0 AND not_before IS NOT NULL AND not_before > $1

-- name: run_positions
SELECT part, "offset" FROM positions WHERE topic = 'run-events'
