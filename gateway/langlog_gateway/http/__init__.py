"""What all endpoints need of HTTP: bodies in, answers out, errors, options, and the ports to log, workers and Postgres."""
