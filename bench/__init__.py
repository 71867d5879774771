"""The benchmark: a driver in a process of its own that loads a running langlog over HTTP. ``python -m bench --help``."""
