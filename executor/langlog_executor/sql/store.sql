-- Store items as the read model holds them. An item past its time is not there, whether swept or not.

-- name: get
SELECT value, created_at, updated_at FROM store_items
WHERE namespace = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > now())

-- name: search
-- $1 prefix, $2 the first namespace after all that begin with the prefix; conditions, line by line:
-- $3 path into the value (JSON array), $4 operator, $5 wanted; $6 limit, $7 offset. Order: as first put.
SELECT i.namespace, i.key, i.value, i.created_at, i.updated_at
FROM store_items i
WHERE i.namespace >= $1 AND i.namespace < $2
  AND (i.expires_at IS NULL OR i.expires_at > now())
  AND NOT EXISTS (
    SELECT 1
    FROM unnest($3::jsonb[], $4::text[], $5::jsonb[]) AS c(path, op, wanted),
         LATERAL (SELECT i.value #> ARRAY(SELECT jsonb_array_elements_text(c.path)) AS found) v
    WHERE NOT coalesce(CASE c.op
        WHEN '$eq' THEN v.found = c.wanted
        WHEN '$ne' THEN v.found IS DISTINCT FROM c.wanted
        ELSE jsonb_typeof(v.found) = jsonb_typeof(c.wanted) AND CASE c.op
            WHEN '$gt' THEN v.found > c.wanted
            WHEN '$gte' THEN v.found >= c.wanted
            WHEN '$lt' THEN v.found < c.wanted
            WHEN '$lte' THEN v.found <= c.wanted
        END
    END, false)
  )
ORDER BY i.created_at, i.namespace, i.key
LIMIT $6 OFFSET $7

-- name: namespaces
-- $1 kinds of condition (prefix, suffix), $2 their labels (JSON arrays; * is any label), $3 depth, $4 limit, $5 offset.
SELECT DISTINCT n.shown
FROM store_items i,
     LATERAL (SELECT CASE WHEN $3::int IS NULL THEN i.namespace ELSE i.namespace[1:$3] END AS shown) n
WHERE (i.expires_at IS NULL OR i.expires_at > now())
  AND NOT EXISTS (
    SELECT 1
    FROM unnest($1::text[], $2::jsonb[]) AS c(kind, labels)
    WHERE jsonb_array_length(c.labels) > cardinality(i.namespace) OR EXISTS (
        SELECT 1
        FROM jsonb_array_elements_text(c.labels) WITH ORDINALITY AS l(label, place)
        WHERE l.label <> '*' AND l.label <> i.namespace[
            l.place::int + CASE c.kind WHEN 'suffix' THEN cardinality(i.namespace) - jsonb_array_length(c.labels) ELSE 0 END]
    )
  )
ORDER BY n.shown
LIMIT $4 OFFSET $5
