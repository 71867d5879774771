"""``langlog threads`` and ``langlog runs``: lists of a server that runs, by its public API alone; reads only."""
