-- Queries of `langlog log groups`.

-- name: projections
-- All read models: the live one, those that are being built, and those that were kept.
SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'positions' AND c.relkind = 'r'
  AND EXISTS (SELECT FROM pg_class r WHERE r.relnamespace = n.oid AND r.relname = 'outcomes')
ORDER BY 1

-- name: positions
SELECT topic, part, "offset" FROM {schema}.positions
