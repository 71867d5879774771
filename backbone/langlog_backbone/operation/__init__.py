"""Functions for operators of a running system: why a run does not move, lag of readers, parked keys, the log's records."""
