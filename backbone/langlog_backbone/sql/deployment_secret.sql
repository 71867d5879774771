-- The secret of a deployment (`deployment_secret`): beside the keys of threads, in a schema that no rebuild touches.

-- name: schema
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.secrets (
    name text COLLATE "C" PRIMARY KEY,
    secret bytea NOT NULL
)

-- name: add
INSERT INTO {schema}.secrets (name, secret) VALUES ('deployment', $1) ON CONFLICT (name) DO NOTHING

-- name: get
SELECT secret FROM {schema}.secrets WHERE name = 'deployment'
