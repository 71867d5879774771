"""``langlog import``: objects of another server, or of the published Postgres saver's tables, carried over to a server that runs."""
