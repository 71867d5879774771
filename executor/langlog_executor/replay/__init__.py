"""Replays of past runs in a sandbox."""
