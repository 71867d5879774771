"""Tokens that were looked up in this process: the file of the routes is executed once for them and once for authentication."""

lookups: list[str] = []
