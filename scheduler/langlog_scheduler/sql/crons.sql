-- Crons that are due. Uses the partial index on those that can be due.

-- name: due
-- With what their runs need of their assistants; now() is the moment that all of it is about. Parked crons are left alone, and so are
-- crons $2 at due times $3, which have been fired.
SELECT c.cron_id, c.assistant_id, c.thread_id, c.user_id, c.schedule, c.timezone, c.ends_at, c.payload, c.metadata,
       c.on_run_completed, c.next_run_date, c.authority, now() AS now,
       a.graph_id, a.config AS assistant_config, a.context AS assistant_context, a.metadata AS assistant_metadata
FROM crons c LEFT JOIN assistants a ON a.assistant_id = c.assistant_id
WHERE c.enabled AND (c.ends_at IS NULL OR c.next_run_date <= c.ends_at) AND c.next_run_date <= now()
  AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.key = c.cron_id AND d.state IN ('bad', 'behind'))
  AND NOT EXISTS (
    SELECT 1 FROM unnest($2::text[], $3::timestamptz[]) AS f (cron_id, due)
    WHERE f.cron_id = c.cron_id AND f.due = c.next_run_date
  )
ORDER BY c.next_run_date
LIMIT $1

-- name: shown
SELECT cron_id, next_run_date FROM crons WHERE cron_id = ANY ($1::text[])

-- name: pending
-- Number of pending runs, counted up to a limit.
SELECT count(*) FROM (SELECT FROM runs WHERE status = 'pending' AND status IN ('pending', 'running') LIMIT $1) AS waiting

-- name: behind
-- Whether there is a partition ($1 topics, $2 numbers) that is not folded up to its offset in $3.
SELECT EXISTS (
    SELECT FROM unnest($1::text[], $2::int[], $3::bigint[]) AS n (topic, part, ending)
    LEFT JOIN positions p ON p.topic = n.topic AND p.part = n.part
    WHERE coalesce(p."offset", 0) < n.ending
)

-- name: next_due
-- Leaves out crons $1 at due times $2, which have been fired.
SELECT extract(epoch FROM min(next_run_date) - now())::float8 FROM crons
WHERE NOT EXISTS (
    SELECT 1 FROM unnest($1::text[], $2::timestamptz[]) AS f (cron_id, due)
    WHERE f.cron_id = crons.cron_id AND f.due = crons.next_run_date
) AND enabled AND (ends_at IS NULL OR next_run_date <= ends_at)
  AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.key = cron_id AND d.state IN ('bad', 'behind'))
