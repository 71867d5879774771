"""Stand-ins for servers: log, Postgres, Redis, receivers of webhooks, graphs. All in memory, all in the loop's time."""
