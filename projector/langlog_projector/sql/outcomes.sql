-- Outcomes of commands, as the projector writes them.

-- name: insert
INSERT INTO outcomes (command_id, topic, part, aggregate_id, status, detail, type, body, at)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
ON CONFLICT DO NOTHING

-- name: prune
-- $1, $2 the partitions that got a row; $3 how long an outcome is kept behind the newest of its partition.
DELETE FROM outcomes o
USING unnest($1::text[], $2::int[]) AS touched (topic, part),
      LATERAL (SELECT max(n.at) AS newest FROM outcomes n WHERE n.topic = touched.topic AND n.part = touched.part) AS clock
WHERE o.topic = touched.topic AND o.part = touched.part AND o.at < clock.newest - $3::interval
