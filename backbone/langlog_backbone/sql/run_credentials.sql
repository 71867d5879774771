-- Credentials of callers that their runs need: beside the log and the read model, in the schema of the keys, {schema}.

-- name: there
SELECT to_regclass('{schema}.run_credentials') IS NOT NULL

-- name: schema
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.run_credentials (
    run_id text COLLATE "C" PRIMARY KEY,
    sealed bytea NOT NULL,              -- AES-GCM, under a key derived from the deployment's secret
    kept_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS run_credentials_kept ON {schema}.run_credentials (kept_at)

-- name: keep
-- The commit waits for the disk, whatever the server's default: the run that needs the credentials is acknowledged next.
INSERT INTO {schema}.run_credentials (run_id, sealed)
SELECT n.run_id, n.sealed FROM unnest($1::text[], $2::bytea[]) AS n (run_id, sealed), set_config('synchronous_commit', 'on', true)
ON CONFLICT (run_id) DO UPDATE SET sealed = EXCLUDED.sealed, kept_at = now()

-- name: of_run
SELECT sealed FROM {schema}.run_credentials WHERE run_id = $1

-- name: forget
-- Credentials of runs that have ended, or were never created.
DELETE FROM {schema}.run_credentials c WHERE c.kept_at < now() - make_interval(secs => $1)
AND NOT EXISTS (SELECT FROM runs r WHERE r.run_id = c.run_id AND r.status IN ('pending', 'running'))
