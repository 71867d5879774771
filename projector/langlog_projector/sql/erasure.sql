-- What goes with a thread where its records are encrypted, beyond the rows that go in any case.

-- name: outcomes
DELETE FROM outcomes WHERE aggregate_id = ANY ($1::text[])

-- name: webhooks
-- One that is still to be delivered goes when that is settled.
DELETE FROM webhooks WHERE thread_id = ANY ($1::text[]) AND settled_at IS NOT NULL

-- name: dead_letters
DELETE FROM dead_letters WHERE key = ANY ($1::text[])

-- name: settled_webhooks
DELETE FROM webhooks w WHERE w.run_id = ANY ($1::text[]) AND w.settled_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM threads t WHERE t.thread_id = w.thread_id)
