-- Checkpoints as the read model holds them. $1 thread, $2 namespace throughout.
-- Their order is that of the log (log_position). Ids come from the clocks of workers, which differ, so they only break ties, among
-- rows of a snapshot that was taken before positions were kept.
-- Rows are looked up one by one (LIMIT 1 keeps Postgres from joining): planned for threads of usual length, a join reads all rows of
-- a long one.
-- A part replaces its name in braces.

-- part: with_position
SELECT p.position, g.greatest_id, h.checkpoint_id, h.log_position, h.parent_id, h.run_id, h.type, h.data, h.metadata, h.versions,
       b.channels, b.types, b.datas, w.task_paths, w.task_ids, w.idxs, w.write_channels, w.write_types, w.write_datas
FROM (SELECT coalesce((SELECT "offset" FROM positions WHERE topic = 'run-events' AND part = $3), 0) AS position) p

-- part: blobs_and_writes
LEFT JOIN LATERAL (SELECT max(c.checkpoint_id) AS greatest_id FROM checkpoints c WHERE c.thread_id = $1 AND c.ns = $2) g ON true
LEFT JOIN LATERAL (
    SELECT array_agg(v.key) AS channels, array_agg(x.type) AS types, array_agg(x.data) AS datas
    FROM jsonb_each_text(h.versions) v
    CROSS JOIN LATERAL (
        SELECT b.type, b.data FROM checkpoint_blobs b
        WHERE b.thread_id = $1 AND b.ns = $2 AND b.channel = v.key AND b.version = v.value LIMIT 1
    ) x
) b ON true
LEFT JOIN LATERAL (
    SELECT array_agg(o.task_path) AS task_paths, array_agg(o.task_id) AS task_ids, array_agg(o.idx) AS idxs,
           array_agg(o.channel) AS write_channels, array_agg(o.type) AS write_types, array_agg(o.data) AS write_datas
    FROM checkpoint_writes o
    WHERE o.thread_id = $1 AND o.ns = $2 AND o.checkpoint_id = h.checkpoint_id
) w ON true

-- part: columns
SELECT h.thread_id, h.ns, h.checkpoint_id, h.log_position, h.parent_id, h.run_id, h.type, h.data, h.metadata, h.versions,
       w.task_paths, w.task_ids, w.idxs, w.write_channels, w.write_types, w.write_datas

-- part: writes
LEFT JOIN LATERAL (
    SELECT array_agg(o.task_path) AS task_paths, array_agg(o.task_id) AS task_ids, array_agg(o.idx) AS idxs,
           array_agg(o.channel) AS write_channels, array_agg(o.type) AS write_types, array_agg(o.data) AS write_datas
    FROM checkpoint_writes o
    WHERE o.thread_id = h.thread_id AND o.ns = h.ns AND o.checkpoint_id = h.checkpoint_id
) w ON true

-- name: latest
-- $3 partition of the thread in run-events. Its position is returned from the same snapshot, and so is the greatest id.
{with_position}
LEFT JOIN LATERAL (
    SELECT c.checkpoint_id, c.log_position, c.parent_id, c.run_id, c.type, c.data, c.metadata, c.versions
    FROM checkpoints c
    WHERE c.thread_id = $1 AND c.ns = $2
    ORDER BY c.log_position DESC, c.checkpoint_id DESC
    LIMIT 1
) h ON true
{blobs_and_writes}

-- name: one
-- $3 partition, $4 checkpoint id.
{with_position}
LEFT JOIN LATERAL (
    SELECT c.checkpoint_id, c.log_position, c.parent_id, c.run_id, c.type, c.data, c.metadata, c.versions
    FROM checkpoints c
    WHERE c.thread_id = $1 AND c.ns = $2 AND c.checkpoint_id = $4
) h ON true
{blobs_and_writes}

-- name: position
-- $1 partition.
SELECT coalesce((SELECT "offset" FROM positions WHERE topic = 'run-events' AND part = $1), 0)

-- name: cause
-- Offset of the last command of partition $2 whose events of topic $1 are folded.
SELECT cause_offset FROM positions WHERE topic = $1 AND part = $2

-- name: page
-- Newest first, without blobs: before (position $3, id $4), metadata containing $5, at most $6, only ids below $7.
{columns}
FROM (
    SELECT c.thread_id, c.ns, c.checkpoint_id, c.log_position, c.parent_id, c.run_id, c.type, c.data, c.metadata, c.versions
    FROM checkpoints c
    WHERE c.thread_id = $1 AND c.ns = $2 AND (c.log_position, c.checkpoint_id) < ($3::bigint, $4) AND c.metadata @> $5::jsonb
      AND c.checkpoint_id < $7
    ORDER BY c.log_position DESC, c.checkpoint_id DESC
    LIMIT $6
) h
{writes}
ORDER BY h.log_position DESC, h.checkpoint_id DESC

-- name: page_of_thread
-- As `page`, over namespaces ($2 null: all), and only id $8 (null: any); $9 namespace at which the last page ended.
{columns}
FROM (
    SELECT c.thread_id, c.ns, c.checkpoint_id, c.log_position, c.parent_id, c.run_id, c.type, c.data, c.metadata, c.versions
    FROM checkpoints c
    WHERE c.thread_id = $1 AND ($2::text IS NULL OR c.ns = $2)
      AND (c.log_position, c.checkpoint_id, c.ns) < ($3::bigint, $4, $9) AND c.metadata @> $5::jsonb
      AND c.checkpoint_id < $7
      AND ($8::text IS NULL OR c.checkpoint_id = $8)
    ORDER BY c.log_position DESC, c.checkpoint_id DESC, c.ns DESC
    LIMIT $6
) h
{writes}
ORDER BY h.log_position DESC, h.checkpoint_id DESC, h.ns DESC

-- name: page_anywhere
-- Over all threads, by id: positions of different partitions do not compare. $1 namespace (null: all), $2 only ids below,
-- $3 metadata to contain, $4 limit, $5 only this id (null: any), ($6 id, $7 namespace, $8 thread) at which the last page ended.
{columns}
FROM (
    SELECT c.thread_id, c.ns, c.checkpoint_id, c.log_position, c.parent_id, c.run_id, c.type, c.data, c.metadata, c.versions
    FROM checkpoints c
    WHERE ($1::text IS NULL OR c.ns = $1)
      AND c.checkpoint_id < $2
      AND c.metadata @> $3::jsonb
      AND ($5::text IS NULL OR c.checkpoint_id = $5)
      AND ($6::text IS NULL OR (c.checkpoint_id, c.ns, c.thread_id) < ($6, $7, $8))
    ORDER BY c.checkpoint_id DESC, c.ns DESC, c.thread_id DESC
    LIMIT $4
) h
{writes}
ORDER BY h.checkpoint_id DESC, h.ns DESC, h.thread_id DESC

-- name: position_of
-- Position of checkpoint $3 in the log.
SELECT log_position FROM checkpoints WHERE thread_id = $1 AND ns = $2 AND checkpoint_id = $3

-- name: blobs
-- The blobs named by ($1 threads, $2 namespaces, $3 channels, $4 versions); the arrays correspond element by element.
SELECT x.thread_id, x.ns, x.channel, x.version, x.type, x.data
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS v(thread_id, ns, channel, version)
JOIN checkpoint_blobs x
  ON x.thread_id = v.thread_id AND x.ns = v.ns AND x.channel = v.channel AND x.version = v.version

-- name: lineage
-- Values of channels $4 in checkpoint $3 and its ancestors: of each channel up to the nearest ancestor that has a value of it
-- ($5 false: without checkpoint $3 itself).
WITH RECURSIVE chain AS (
    SELECT c.checkpoint_id, c.parent_id, c.versions, 0 AS depth, $4::text[] AS wanted
    FROM checkpoints c
    WHERE c.thread_id = $1 AND c.ns = $2 AND c.checkpoint_id = CASE WHEN $5::boolean THEN $3 ELSE (
        SELECT t.parent_id FROM checkpoints t WHERE t.thread_id = $1 AND t.ns = $2 AND t.checkpoint_id = $3) END
  UNION ALL
    SELECT c.checkpoint_id, c.parent_id, c.versions, chain.depth + 1, r.wanted
    FROM chain
    CROSS JOIN LATERAL (
        SELECT array_agg(x.name) AS wanted FROM unnest(chain.wanted) AS x(name) WHERE NOT chain.versions ? x.name
    ) r
    CROSS JOIN LATERAL (
        SELECT a.checkpoint_id, a.parent_id, a.versions FROM checkpoints a
        WHERE a.thread_id = $1 AND a.ns = $2 AND a.checkpoint_id = chain.parent_id LIMIT 1
    ) c
    WHERE r.wanted IS NOT NULL
)
SELECT b.channels, b.types, b.datas, w.task_paths, w.task_ids, w.idxs, w.write_channels, w.write_types, w.write_datas
FROM chain
LEFT JOIN LATERAL (
    SELECT array_agg(v.name) AS channels, array_agg(x.type) AS types, array_agg(x.data) AS datas
    FROM unnest(chain.wanted) AS v(name)
    CROSS JOIN LATERAL (
        SELECT b.type, b.data FROM checkpoint_blobs b
        WHERE b.thread_id = $1 AND b.ns = $2 AND b.channel = v.name AND b.version = chain.versions ->> v.name LIMIT 1
    ) x
) b ON true
LEFT JOIN LATERAL (
    SELECT array_agg(o.task_path) AS task_paths, array_agg(o.task_id) AS task_ids, array_agg(o.idx) AS idxs,
           array_agg(o.channel) AS write_channels, array_agg(o.type) AS write_types, array_agg(o.data) AS write_datas
    FROM checkpoint_writes o
    WHERE o.thread_id = $1 AND o.ns = $2 AND o.checkpoint_id = chain.checkpoint_id AND o.channel = ANY (chain.wanted)
) w ON true
ORDER BY chain.depth

-- name: threads_of_runs
-- Threads with checkpoints of the runs $1.
SELECT DISTINCT thread_id FROM checkpoints WHERE run_id = ANY ($1::text[])

-- name: latest_without_run
-- The latest checkpoint of the root namespace that is not of run $2, without that run's writes on it, and with what they replaced (kept by
-- the projector under a checkpoint id of its own).
SELECT h.checkpoint_id, h.log_position, h.parent_id, h.run_id, h.type, h.data, h.metadata, h.versions,
       b.channels, b.types, b.datas, w.task_paths, w.task_ids, w.idxs, w.write_channels, w.write_types, w.write_datas
FROM (
    SELECT c.checkpoint_id, c.log_position, c.parent_id, c.run_id, c.type, c.data, c.metadata, c.versions
    FROM checkpoints c
    WHERE c.thread_id = $1 AND c.ns = '' AND c.run_id IS DISTINCT FROM $2
    ORDER BY c.log_position DESC, c.checkpoint_id DESC
    LIMIT 1
) h
LEFT JOIN LATERAL (
    SELECT array_agg(v.key) AS channels, array_agg(x.type) AS types, array_agg(x.data) AS datas
    FROM jsonb_each_text(h.versions) v
    CROSS JOIN LATERAL (
        SELECT b.type, b.data FROM checkpoint_blobs b
        WHERE b.thread_id = $1 AND b.ns = '' AND b.channel = v.key AND b.version = v.value LIMIT 1
    ) x
) b ON true
LEFT JOIN LATERAL (
    SELECT array_agg(o.task_path) AS task_paths, array_agg(o.task_id) AS task_ids, array_agg(o.idx) AS idxs,
           array_agg(o.channel) AS write_channels, array_agg(o.type) AS write_types, array_agg(o.data) AS write_datas
    FROM (
        SELECT DISTINCT ON (e.task_id, e.idx) e.* FROM (
            SELECT c.task_path, c.task_id, c.idx, c.channel, c.type, c.data, true AS current, 0::bigint AS ordinal
            FROM checkpoint_writes c
            WHERE c.thread_id = $1 AND c.ns = '' AND c.checkpoint_id = h.checkpoint_id AND c.run_id IS DISTINCT FROM $2
          UNION ALL
            SELECT k.task_path, left(k.task_id, -1 - length(coalesce(k.run_id, ''))), k.idx, k.channel, k.type, k.data, false,
                   coalesce(r.ordinal, -1)
            FROM checkpoint_writes k LEFT JOIN runs r ON r.run_id = k.run_id
            WHERE k.thread_id = $1 AND k.ns = '' AND k.checkpoint_id = 'replaced ' || h.checkpoint_id AND k.run_id IS DISTINCT FROM $2
        ) e
        ORDER BY e.task_id, e.idx, e.current DESC, e.ordinal DESC
    ) o
) w ON true
