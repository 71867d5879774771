-- What the gateway reads of the store. Written by the projector alone.

-- name: get
SELECT namespace, key, value, created_at, updated_at FROM store_items WHERE namespace = $1::text[] AND key = $2

-- name: search
SELECT namespace, key, value, created_at, updated_at FROM store_items
WHERE {filters} ORDER BY created_at, namespace, key LIMIT {limit} OFFSET {offset}

-- name: namespaces
SELECT DISTINCT {depth} AS namespace FROM store_items WHERE {filters} ORDER BY 1 LIMIT {limit} OFFSET {offset}
