"""Endpoints of runs: create, wait, stream, join, cancel."""
