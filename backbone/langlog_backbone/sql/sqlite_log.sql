-- The embedded log: one row a record, one sequence over all topics and partitions.

-- name: create_records
CREATE TABLE records (
    seq       INTEGER PRIMARY KEY,
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    "offset"  INTEGER NOT NULL,
    key       TEXT    NOT NULL,
    headers   BLOB    NOT NULL,
    value     BLOB    NOT NULL
)

-- name: create_place
CREATE UNIQUE INDEX place ON records (topic, partition, "offset")

-- name: create_positions
CREATE TABLE positions (
    member_group TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    partition    INTEGER NOT NULL,
    "offset"     INTEGER NOT NULL,
    PRIMARY KEY (member_group, topic, partition)
) WITHOUT ROWID

-- name: create_meta
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)

-- name: create_starts
-- First offset of each partition that has been cut. Records below it may remain for a moment; they count as removed.
CREATE TABLE IF NOT EXISTS starts (
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    "offset"  INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID

-- name: save_start
INSERT INTO starts (topic, partition, "offset") VALUES (?1, ?2, ?3)
ON CONFLICT (topic, partition) DO UPDATE SET "offset" = max("offset", excluded."offset")

-- name: save_cut_seq
-- The sequence continues from here even when its last record is cut.
INSERT INTO meta (name, value) VALUES ('cut_seq', (SELECT CAST(coalesce(max(seq), 0) AS TEXT) FROM records))
ON CONFLICT (name) DO UPDATE SET value = CAST(max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER)) AS TEXT)

-- name: all_starts
SELECT topic, partition, "offset" FROM starts

-- name: start_of
SELECT "offset" FROM starts WHERE topic = ?1 AND partition = ?2

-- name: start_offsets
WITH RECURSIVE p (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM p WHERE n + 1 < ?2)
SELECT coalesce((SELECT "offset" FROM starts WHERE topic = ?1 AND partition = n), 0) FROM p ORDER BY n

-- name: cut
-- Deletes a few records at a time, so that other connections can write in between.
DELETE FROM records WHERE seq IN (
    SELECT seq FROM records WHERE topic = ?1 AND partition = ?2 AND "offset" < ?3 ORDER BY "offset" LIMIT ?4
)

-- name: first_seq
SELECT coalesce(min(seq), 0) FROM records

-- name: headers_from
-- Reads the value only if the headers are in it.
SELECT seq, key, headers, CASE WHEN length(headers) = 0 THEN value ELSE x'' END FROM records WHERE seq >= ?1 ORDER BY seq LIMIT ?2

-- name: offsets_from
-- By sequence number: the first offset of each partition from that number on, or its end.
WITH RECURSIVE p (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM p WHERE n + 1 < ?2)
SELECT coalesce(
    (SELECT min("offset") FROM records WHERE topic = ?1 AND partition = n AND seq >= ?3),
    (SELECT max("offset") + 1 FROM records WHERE topic = ?1 AND partition = n),
    (SELECT "offset" FROM starts WHERE topic = ?1 AND partition = n),
    0
) FROM p ORDER BY n

-- name: insert_meta
INSERT INTO meta (name, value) VALUES (?1, ?2)

-- name: meta
SELECT value FROM meta WHERE name = ?1

-- name: last_seq
SELECT max(
    coalesce((SELECT max(seq) FROM records), 0),
    coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'cut_seq'), 0)
)

-- name: next_offset
SELECT max(
    coalesce((SELECT max("offset") + 1 FROM records WHERE topic = ?1 AND partition = ?2), 0),
    coalesce((SELECT "offset" FROM starts WHERE topic = ?1 AND partition = ?2), 0)
)

-- name: next_offsets_since
-- by the sequence alone: grouped by the index, it would read all of the log after each commit of another process
SELECT topic, partition, max("offset") + 1, max(seq) FROM records NOT INDEXED WHERE seq > ?1 GROUP BY topic, partition

-- name: end_offsets
WITH RECURSIVE p (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM p WHERE n + 1 < ?2)
SELECT max(
    coalesce((SELECT max("offset") + 1 FROM records WHERE topic = ?1 AND partition = n), 0),
    coalesce((SELECT "offset" FROM starts WHERE topic = ?1 AND partition = n), 0)
) FROM p ORDER BY n

-- name: seq_at
SELECT seq FROM records WHERE topic = ?1 AND partition = ?2 AND "offset" >= ?3 ORDER BY "offset" LIMIT 1

-- name: after
SELECT seq, topic, partition, "offset", key, headers, value
FROM records NOT INDEXED
WHERE seq > ?1 AND seq <= ?2 AND topic IN (SELECT value FROM json_each(?3))
ORDER BY seq LIMIT ?4

-- name: records_at
SELECT "offset", key, headers, value
FROM records WHERE topic = ?1 AND partition = ?2 AND "offset" IN (SELECT value FROM json_each(?3))
  AND "offset" >= coalesce((SELECT s."offset" FROM starts s WHERE s.topic = ?1 AND s.partition = ?2), 0)
ORDER BY "offset"

-- name: packed_after
-- As `after`, in one row: for a thread, where each further row would cost a turn of Python's interpreter lock.
-- The records' places and lengths as JSON; their keys, headers and values end to end. At most ?5 bytes of values,
-- but always the first record. Which they are is found by lengths alone: what a window sees is copied, into a temporary
-- file where it is much, and of large records ?4 are far more than ?5 bytes.
SELECT json_group_array(json_array(
           seq, topic, partition, "offset", length(CAST(key AS BLOB)), length(headers), length(value))),
       CAST(coalesce(group_concat(key || CAST(headers AS TEXT) || CAST(value AS TEXT), ''), '') AS BLOB)
FROM (
    SELECT seq AS chosen, row_number() OVER so_far AS place, sum(bytes) OVER so_far AS size
    FROM (
        SELECT seq, length(value) AS bytes
        FROM records NOT INDEXED
        WHERE seq > ?1 AND seq <= ?2 AND topic IN (SELECT value FROM json_each(?3))
        ORDER BY seq LIMIT ?4
    )
    WINDOW so_far AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
) CROSS JOIN records ON records.seq = chosen
WHERE size <= ?5 OR place = 1

-- name: save_position
INSERT INTO positions (member_group, topic, partition, "offset") VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (member_group, topic, partition) DO UPDATE SET "offset" = max("offset", excluded."offset")

-- name: group_positions
SELECT member_group, topic, partition, "offset" FROM positions

-- name: positions
SELECT topic, partition, "offset" FROM positions WHERE member_group = ?1
