"""HTTP for all endpoints: request bodies, responses, errors, options, and the ports to log, workers and Postgres."""
