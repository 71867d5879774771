"""Endpoints of threads: lifecycle, state, search, copy, stream, events."""
