"""Decisions: `(state, command, meta) -> events`, pure, for each kind of object."""
