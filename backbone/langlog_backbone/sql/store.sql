-- Reads of the store, the same for clients and for nodes. An expired item is left out, whether it has been swept or not.

-- name: vector_type
SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'store_vectors'::regclass AND attname = 'embedding'

-- name: get
SELECT i.namespace, i.key, i.value, i.created_at, i.updated_at, i.expires_at, i.ttl_minutes
FROM store_items i
WHERE i.namespace = $1::text[] AND i.key = $2::text AND (i.expires_at IS NULL OR i.expires_at > now())

-- name: listing
-- In the order of their first put.
SELECT i.namespace, i.key, i.value, i.created_at, i.updated_at, i.expires_at, i.ttl_minutes
FROM store_items i
WHERE {filters} AND (i.expires_at IS NULL OR i.expires_at > now())
ORDER BY i.created_at, i.namespace, i.key
LIMIT {limit} OFFSET {offset}

-- name: similar
-- Items by the nearest of their vectors, exactly: all vectors under the prefix are compared. The first {candidates} of them are looked
-- up in order until the page is full (the inner LIMIT and the count keep Postgres from joining all of them first). The distance is
-- rounded among those, so that equal texts stand in the order of their keys whatever the last bits say. A vector without direction
-- is as far away as can be (its distance is NaN, which sorts last).
WITH wanted AS MATERIALIZED (SELECT {vector}::real[]::vector AS embedding)
SELECT i.namespace, i.key, i.value, i.created_at, i.updated_at, i.expires_at, i.ttl_minutes,
       coalesce(nullif(1 - r.distance, 'NaN'), 0) AS score, r.exact
FROM (
    SELECT v.*, round(v.distance * 1e6) AS rank
    FROM (
        SELECT s.namespace, s.key, s.n, s.exact, s.embedding <=> (SELECT embedding FROM wanted) AS distance
        FROM store_vectors s
        WHERE {place} AND vector_dims(s.embedding) = {dims}
        ORDER BY distance, s.namespace, s.key, s.n
        LIMIT {candidates}
    ) v
    ORDER BY rank, v.namespace, v.key, v.n
) r
CROSS JOIN LATERAL (
    SELECT * FROM store_items i
    WHERE i.namespace = r.namespace AND i.key = r.key AND {matching} AND (i.expires_at IS NULL OR i.expires_at > now())
      AND (
        SELECT count(*) FROM store_vectors o
        WHERE o.namespace = r.namespace AND o.key = r.key AND o.n <> r.n AND vector_dims(o.embedding) = {dims}
          AND (round((o.embedding <=> (SELECT embedding FROM wanted)) * 1e6), o.n) < (r.rank, r.n)
      ) = 0
    LIMIT 1
) i
ORDER BY r.rank, r.namespace, r.key, r.n
LIMIT {limit} OFFSET {offset}

-- name: similar_filtered
-- The same for a filter that few items pass: the filter first. OFFSET 0: the distance is computed once.
WITH wanted AS MATERIALIZED (SELECT {vector}::real[]::vector AS embedding)
SELECT f.namespace, f.key, f.value, f.created_at, f.updated_at, f.expires_at, f.ttl_minutes,
       coalesce(nullif(1 - f.distance, 'NaN'), 0) AS score, f.exact
FROM (
    SELECT DISTINCT ON (m.namespace, m.key) m.*, round(m.distance * 1e6) AS rank
    FROM (
        SELECT i.*, s.exact, s.embedding <=> (SELECT embedding FROM wanted) AS distance
        FROM store_items i JOIN store_vectors s ON s.namespace = i.namespace AND s.key = i.key
        WHERE {filters} AND (i.expires_at IS NULL OR i.expires_at > now()) AND vector_dims(s.embedding) = {dims}
        OFFSET 0
    ) m
    ORDER BY m.namespace, m.key, rank
) f
ORDER BY f.rank, f.namespace, f.key
LIMIT {limit} OFFSET {offset}

-- name: count_similar
SELECT count(*) FROM store_items i
WHERE {filters} AND (i.expires_at IS NULL OR i.expires_at > now()) AND EXISTS (
    SELECT FROM store_vectors s WHERE s.namespace = i.namespace AND s.key = i.key AND vector_dims(s.embedding) = {dims}
)

-- name: without_vectors
SELECT i.namespace, i.key, i.value, i.created_at, i.updated_at, i.expires_at, i.ttl_minutes, NULL::float8 AS score
FROM store_items i
WHERE {filters} AND (i.expires_at IS NULL OR i.expires_at > now()) AND NOT EXISTS (
    SELECT FROM store_vectors s WHERE s.namespace = i.namespace AND s.key = i.key AND vector_dims(s.embedding) = {dims}
)
ORDER BY i.created_at, i.namespace, i.key
LIMIT {limit} OFFSET {offset}

-- name: namespaces
SELECT DISTINCT {depth} AS namespace
FROM store_items i
WHERE {filters} AND (i.expires_at IS NULL OR i.expires_at > now())
ORDER BY 1
LIMIT {limit} OFFSET {offset}
