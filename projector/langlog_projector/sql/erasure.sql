-- Rows that are removed with a thread whose records are encrypted, besides those that are removed in any case.

-- name: outcomes
DELETE FROM outcomes WHERE aggregate_id = ANY ($1::text[])

-- name: webhooks
-- A webhook that is still to be delivered is removed once it is settled.
DELETE FROM webhooks WHERE thread_id = ANY ($1::text[]) AND settled_at IS NOT NULL

-- name: dead_letters
DELETE FROM dead_letters WHERE key = ANY ($1::text[])

-- name: settled_webhooks
-- Runs of a thread that was deleted. A thread that was created again under the same id is younger than the run.
DELETE FROM webhooks w WHERE w.run_id = ANY ($1::text[]) AND w.settled_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM threads t WHERE t.thread_id = w.thread_id AND t.created_at <= w.created_at)

-- name: columns_of_webhooks
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = ($1 || '.webhooks')::regclass AND attnum > 0 AND NOT attisdropped
