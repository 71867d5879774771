-- Queries of `langlog dead`.

-- name: keys
SELECT key, count(*) AS records, min(at) AS since,
       (array_agg(topic || '-' || part || '-' || "offset" ORDER BY topic = 'commands', topic, part, "offset"))[1] AS first,
       (array_agg(type ORDER BY topic = 'commands', topic, part, "offset"))[1] AS type,
       (array_agg(error ORDER BY topic = 'commands', topic, part, "offset") FILTER (WHERE state = 'bad'))[1] AS error
FROM dead_letters WHERE state IN ('bad', 'behind')
GROUP BY key ORDER BY since, key

-- name: records
SELECT topic, part, "offset", type, state, error, headers, value, at
FROM dead_letters WHERE key = $1 AND state IN ('bad', 'behind')
ORDER BY topic = 'commands', topic, part, "offset"
