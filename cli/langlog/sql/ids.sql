-- Kinds of objects that have an id.

-- name: kinds
SELECT 'run' AS kind, thread_id AS of FROM runs WHERE run_id = $1
UNION ALL (SELECT 'run', thread_id FROM thread_events WHERE run_id = $1 LIMIT 1)
UNION ALL SELECT 'thread', '' FROM threads WHERE thread_id = $1
UNION ALL SELECT 'assistant', graph_id FROM assistants WHERE assistant_id = $1
UNION ALL SELECT 'cron', assistant_id FROM crons WHERE cron_id = $1

-- name: runs
-- The newest runs of a thread, and the number of all its runs.
SELECT run_id, status, created_at, graph_id, count(*) OVER () AS total
FROM runs WHERE thread_id = $1 ORDER BY ordinal DESC LIMIT $2
