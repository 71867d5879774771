-- What time has to say about crons. By the partial index on those that can be due.

-- name: due
-- With what their runs need of their assistants; now() is the moment that all of it is about. Parked crons are left alone.
SELECT c.cron_id, c.assistant_id, c.thread_id, c.user_id, c.schedule, c.timezone, c.ends_at, c.payload, c.metadata,
       c.on_run_completed, c.next_run_date, c.authority, now() AS now,
       a.graph_id, a.config AS assistant_config, a.context AS assistant_context, a.metadata AS assistant_metadata
FROM crons c LEFT JOIN assistants a ON a.assistant_id = c.assistant_id
WHERE c.enabled AND (c.ends_at IS NULL OR c.next_run_date <= c.ends_at) AND c.next_run_date <= now()
  AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.key = c.cron_id AND d.state IN ('bad', 'behind'))
ORDER BY c.next_run_date
LIMIT $1

-- name: next_due
SELECT extract(epoch FROM min(next_run_date) - now())::float8 FROM crons
WHERE enabled AND (ends_at IS NULL OR next_run_date <= ends_at)
  AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.key = cron_id AND d.state IN ('bad', 'behind'))
