"""Parked keys: commands that wait behind a record that cannot be handled, and how a key is released or removed."""
