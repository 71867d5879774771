-- Deliveries that are due. Uses the partial index on deliveries that are not settled.

-- name: due
-- At most $2, and of each user at most what is left of the share $3: $4 and $5 are users and how many of theirs are under way.
-- Goes from user to user by the index, however many deliveries of one user are due.
WITH RECURSIVE users AS (
    (SELECT user_id FROM webhooks WHERE next_attempt_at IS NOT NULL ORDER BY user_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.user_id FROM webhooks w WHERE w.next_attempt_at IS NOT NULL AND w.user_id > u.user_id ORDER BY w.user_id LIMIT 1)
    FROM users u WHERE u.user_id IS NOT NULL
)
SELECT due.run_id, due.attempts, due.user_id
FROM users u CROSS JOIN LATERAL (
    SELECT w.run_id, w.attempts, w.user_id, w.next_attempt_at FROM webhooks w
    WHERE w.user_id = u.user_id AND w.next_attempt_at <= now() AND w.run_id <> ALL ($1::text[])
    ORDER BY w.next_attempt_at
    LIMIT CASE WHEN u.user_id = '' THEN $2 ELSE greatest(
        0, $3::int - coalesce((SELECT b.n FROM unnest($4::text[], $5::int[]) AS b (user_id, n) WHERE b.user_id = u.user_id), 0)
    ) END
) AS due
ORDER BY due.next_attempt_at LIMIT $2

-- name: next_due
-- Below zero when a delivery has become due since the last query. Leaves out users ($2) whose share is used up: the end of one of
-- their tries wakes the scheduler.
SELECT extract(epoch FROM min(next_attempt_at) - now())::float8 FROM webhooks
WHERE next_attempt_at IS NOT NULL AND run_id <> ALL ($1::text[]) AND user_id <> ALL ($2::text[])

-- name: attempts
SELECT run_id, attempts FROM webhooks WHERE run_id = ANY ($1::text[])

-- name: delivery
SELECT run_id, thread_id, url, status, assistant_id, metadata, multitask_strategy, attempt, created_at, started_at, ended_at, error,
       kwargs, state_values,
       (SELECT coalesce(max(tried.number), 0) FROM jsonb_array_elements(attempt_log) WITH ORDINALITY AS tried (entry, number)
        WHERE tried.entry ? 'sent_again') AS attempts_before
FROM webhooks WHERE run_id = $1 AND attempts = $2 AND next_attempt_at IS NOT NULL
