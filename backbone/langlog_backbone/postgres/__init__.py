"""Postgres: connections, the read model's schema, and the server's clock."""
