"""``langlog threads`` and ``langlog runs``: lists of a running server, by its public API only; reads only."""
