-- Reads of the feed of list changes. Only the projector writes these tables.

-- name: positions
-- Position of the read model, and the identity of its table: a swap puts another table in this one's place.
SELECT topic, part, "offset", 'positions'::regclass::oid::bigint AS model FROM positions WHERE topic = ANY ($1::text[])

-- name: threads
-- $2: bytes of JSON beyond which interrupts and error are left out; they are read with the thread.
SELECT thread_id, created_at, updated_at, state_updated_at, metadata, status, config,
       CASE WHEN octet_length(interrupts::text) <= $2::int THEN interrupts END AS interrupts,
       CASE WHEN octet_length(error::text) <= $2::int THEN error END AS error,
       octet_length(interrupts::text) > $2::int AS cut
FROM threads WHERE thread_id = ANY ($1::text[]) AND {visible}

-- name: runs
SELECT r.run_id, r.thread_id, r.assistant_id, r.metadata, r.status, r.multitask_strategy, r.created_at, r.updated_at,
       r.cancel_reason
FROM runs r JOIN threads t ON t.thread_id = r.thread_id WHERE r.run_id = ANY ($1::text[]) AND {visible}

-- name: assistants
SELECT * FROM assistants WHERE assistant_id = ANY ($1::text[]) AND {visible}

-- name: crons
SELECT * FROM crons WHERE cron_id = ANY ($1::text[]) AND {visible}

-- name: removed_threads
-- Threads that were deleted and whose last metadata ($2, JSON) the caller could see.
SELECT n.thread_id FROM unnest($1::text[], $2::text[]) AS n (thread_id, metadata) WHERE {visible}

-- name: removed_runs
-- Runs that were deleted while their threads ($2) remain, if the caller can see the thread.
SELECT n.run_id FROM unnest($1::text[], $2::text[]) AS n (run_id, thread_id)
JOIN threads t ON t.thread_id = n.thread_id WHERE {visible}
