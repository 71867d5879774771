-- Building a read model beside the live one. Statements run with one of the two schemas as the search path.

-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended($1, 0))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended($1, 0))

-- name: schema
SELECT obj_description(oid, 'pg_namespace') AS mark FROM pg_namespace WHERE nspname = $1

-- name: positions
SELECT topic, part, "offset" FROM positions

-- name: hold
-- The projector's own statement on positions waits, and then finds the table that has the name by that time.
LOCK TABLE positions IN EXCLUSIVE MODE

-- name: lock_names
-- Keeps out services that start at this moment and create missing tables.
SELECT pg_advisory_xact_lock(hashtext('langlog.read_model'))

-- name: columns
-- Every table of a schema with its columns, those of the primary key marked.
SELECT c.relname AS table_name, a.attname AS column_name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnum = ANY (i.indkey) AS is_key
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = $1 AND c.relkind = 'r'
ORDER BY c.relname, a.attnum

-- name: touch_positions
-- Writes the positions unchanged: the commit takes all commits before it to the disk.
UPDATE positions SET "offset" = "offset" RETURNING topic, part, "offset"
