-- Threads and items that have expired. Uses the partial indexes on threads with a TTL and items that expire.

-- name: expired_threads
-- Threads that keep their latest checkpoint are due once after each change. $1 the longest TTL, $2 the maximum number of rows.
SELECT thread_id, updated_at FROM threads
WHERE ttl_minutes IS NOT NULL AND status <> 'busy'
  AND updated_at + make_interval(secs => LEAST(ttl_minutes, $1) * 60) <= now()
  AND (ttl_strategy = 'delete' OR thinned_at IS NULL OR thinned_at < updated_at)
ORDER BY updated_at LIMIT $2

-- name: expired_items
SELECT namespace, key FROM store_items WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
