-- Keys of threads (docs/how-to/erasure.md): in a schema of their own, {schema}, that no rebuild touches.

-- name: schema
CREATE TABLE IF NOT EXISTS {schema}.thread_keys (
    thread_id text COLLATE "C" PRIMARY KEY,
    key_id text COLLATE "C" UNIQUE,
    key bytea,                          -- null: erased
    wrapped boolean NOT NULL,           -- by the master key
    erased_at timestamptz
);
CREATE INDEX IF NOT EXISTS thread_keys_erased ON {schema}.thread_keys (erased_at) WHERE erased_at IS NOT NULL

-- name: of_threads
SELECT thread_id, key_id, key, wrapped FROM {schema}.thread_keys WHERE thread_id = ANY ($1::text[])

-- name: make
-- A thread that was erased gets another key when it is created again ($4). Returns the threads whose key this is.
INSERT INTO {schema}.thread_keys AS k (thread_id, key_id, key, wrapped)
SELECT n.thread_id, n.key_id, n.key, $5 FROM unnest($1::text[], $2::text[], $3::bytea[]) AS n (thread_id, key_id, key)
ON CONFLICT (thread_id) DO UPDATE SET key_id = EXCLUDED.key_id, key = EXCLUDED.key, wrapped = EXCLUDED.wrapped, erased_at = NULL
WHERE k.key IS NULL AND k.thread_id = ANY ($4::text[])
RETURNING k.thread_id

-- name: by_id
SELECT key_id, key, wrapped FROM {schema}.thread_keys WHERE key_id = ANY ($1::text[])

-- name: destroy
UPDATE {schema}.thread_keys SET key_id = NULL, key = NULL, erased_at = now() WHERE thread_id = ANY ($1::text[]) AND key IS NOT NULL

-- name: forget
DELETE FROM {schema}.thread_keys WHERE erased_at < now() - make_interval(days => $1)

-- name: any_key
SELECT key_id, key, wrapped FROM {schema}.thread_keys WHERE key IS NOT NULL AND wrapped LIMIT 1

-- name: count
SELECT count(*) AS keys FROM {schema}.thread_keys WHERE key IS NOT NULL

-- name: page
SELECT thread_id, key_id, key, wrapped FROM {schema}.thread_keys WHERE key IS NOT NULL AND thread_id > $1
ORDER BY thread_id LIMIT $2

-- name: rewrap
-- Leaves out keys that were destroyed, or made anew, since they were read.
UPDATE {schema}.thread_keys k SET key = n.key, wrapped = true
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS n (thread_id, key_id, key)
WHERE k.thread_id = n.thread_id AND k.key_id = n.key_id

-- name: has_keys
SELECT EXISTS (SELECT FROM {schema}.thread_keys WHERE key IS NOT NULL)
