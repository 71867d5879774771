"""In PYTHONPATH it keeps `rich` out of a process, where tools of the tests have brought it: structlog would load it at each start,
which costs a fifth of the start. An installed langlog has none."""

raise ImportError("tests run langlog without rich, as it is installed")
