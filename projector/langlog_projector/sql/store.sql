-- Items of the store and the vectors of their texts.

-- name: put_item
-- $8 number of vectors that the item has now: those from that index on belong to its former value.
WITH fewer AS (DELETE FROM store_vectors WHERE namespace = $1 AND key = $2 AND n >= $8)
INSERT INTO store_items AS s (namespace, key, value, created_at, updated_at, expires_at, ttl_minutes)
VALUES ($1, $2, $3::jsonb, $4, $5, $6, $7)
ON CONFLICT (namespace, key) DO UPDATE
SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at, ttl_minutes = EXCLUDED.ttl_minutes

-- name: put_vector
INSERT INTO store_vectors AS v (namespace, key, n, path, embedding, exact)
VALUES ($1, $2, $3, $4, $5::real[], $6)
ON CONFLICT (namespace, key, n) DO UPDATE
SET path = EXCLUDED.path, embedding = EXCLUDED.embedding, exact = EXCLUDED.exact

-- name: remove_item
WITH vectors_gone AS (DELETE FROM store_vectors WHERE namespace = $1 AND key = $2)
DELETE FROM store_items WHERE namespace = $1 AND key = $2

-- name: expire_item
-- $3: the time by which the item has expired.
WITH gone AS (DELETE FROM store_items WHERE namespace = $1 AND key = $2 AND expires_at <= $3 RETURNING namespace, key)
DELETE FROM store_vectors v USING gone WHERE v.namespace = gone.namespace AND v.key = gone.key

-- name: refresh_item
-- $3: the time of the read; an item that had expired by then stays expired. The longest TTL as in `commands.TTL_MAX_MINUTES`.
UPDATE store_items
SET expires_at = GREATEST(expires_at, $3 + make_interval(secs => GREATEST(0, LEAST(ttl_minutes, 52704000)) * 60))
WHERE namespace = $1 AND key = $2 AND ttl_minutes IS NOT NULL AND expires_at > $3
