-- Tables whose content is not in the log: keys of threads, credentials of runs under way, the secret of the deployment. All are in
-- the schema of the keys, {schema}; the tables are made by thread_keys.sql, run_credentials.sql and deployment_secret.sql.

-- name: there
SELECT to_regclass($1) IS NOT NULL

-- name: thread_keys
SELECT thread_id, key_id, key, wrapped, erased_at FROM {schema}.thread_keys WHERE thread_id > $1 ORDER BY thread_id LIMIT $2

-- name: credentials
SELECT run_id, sealed, kept_at FROM {schema}.run_credentials WHERE run_id > $1 ORDER BY run_id LIMIT $2

-- name: unwrapped
SELECT count(*) FROM {schema}.thread_keys WHERE key IS NOT NULL AND NOT wrapped

-- name: put_thread_keys
-- Returns the threads that have another key here.
WITH n AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::boolean[], $5::timestamptz[])
        AS n (thread_id, key_id, key, wrapped, erased_at)
), put AS (
    INSERT INTO {schema}.thread_keys (thread_id, key_id, key, wrapped, erased_at)
    SELECT thread_id, key_id, key, wrapped, erased_at FROM n ON CONFLICT (thread_id) DO NOTHING
)
SELECT k.thread_id FROM {schema}.thread_keys k JOIN n USING (thread_id) WHERE k.key_id <> n.key_id

-- name: put_credentials
INSERT INTO {schema}.run_credentials (run_id, sealed, kept_at)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::timestamptz[]) ON CONFLICT (run_id) DO NOTHING
