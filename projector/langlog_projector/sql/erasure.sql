-- What goes with a thread where its records are encrypted, beyond the rows that go in any case.

-- name: outcomes
DELETE FROM outcomes WHERE aggregate_id = ANY ($1::text[])

-- name: webhooks
-- One that is still to be delivered goes when that is settled.
DELETE FROM webhooks WHERE thread_id = ANY ($1::text[]) AND settled_at IS NOT NULL

-- name: dead_letters
DELETE FROM dead_letters WHERE key = ANY ($1::text[])

-- name: settled_webhooks
-- Of a thread that is gone; one that was made again under its id is younger than the run.
DELETE FROM webhooks w WHERE w.run_id = ANY ($1::text[]) AND w.settled_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM threads t WHERE t.thread_id = w.thread_id AND t.created_at <= w.created_at)

-- name: columns_of_webhooks
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = ($1 || '.webhooks')::regclass AND attnum > 0 AND NOT attisdropped
