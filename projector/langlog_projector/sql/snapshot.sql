-- Snapshots of a read model: written from one schema, read into another.

-- name: positions
SELECT topic, part, "offset", cause_offset, cause_index, cause_count FROM positions WHERE part = ANY ($1::int[])

-- name: lock_positions
-- Two processes that would restore the same partition take turns.
SELECT topic, "offset" FROM positions WHERE part = $1 FOR UPDATE

-- name: save_positions
INSERT INTO positions (topic, part, "offset", cause_offset, cause_index, cause_count)
SELECT n.topic, $1, n.after, n.cause_offset, n.cause_index, n.cause_count
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::int[], $6::int[]) AS n (topic, after, cause_offset, cause_index, cause_count)
ON CONFLICT (topic, part) DO UPDATE
SET "offset" = EXCLUDED."offset", cause_offset = EXCLUDED.cause_offset, cause_index = EXCLUDED.cause_index,
    cause_count = EXCLUDED.cause_count

-- name: share_log
-- Lock of every process that reads the log from its beginning: the log is not cut meanwhile.
SELECT pg_try_advisory_lock_shared(hashtextextended($1, 0))

-- name: unshare_log
SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))
