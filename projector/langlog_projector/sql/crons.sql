-- Rows of crons. Removals run first.

-- name: remove
DELETE FROM crons WHERE cron_id = ANY ($1::text[])

-- name: upsert
INSERT INTO crons (cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, ends_at, payload, metadata,
                   on_run_completed, enabled, next_run_date, created_at, updated_at, authority)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15, $16)
ON CONFLICT (cron_id) DO UPDATE
SET assistant_id = EXCLUDED.assistant_id, user_id = EXCLUDED.user_id, authority = EXCLUDED.authority, schedule = EXCLUDED.schedule, timezone = EXCLUDED.timezone,
    end_time = EXCLUDED.end_time, ends_at = EXCLUDED.ends_at, payload = EXCLUDED.payload, metadata = EXCLUDED.metadata,
    on_run_completed = EXCLUDED.on_run_completed, enabled = EXCLUDED.enabled, next_run_date = EXCLUDED.next_run_date,
    updated_at = EXCLUDED.updated_at

-- name: advance
UPDATE crons c SET next_run_date = n.next_run_date
FROM unnest($1::text[], $2::timestamptz[]) AS n (cron_id, next_run_date)
WHERE c.cron_id = n.cron_id
