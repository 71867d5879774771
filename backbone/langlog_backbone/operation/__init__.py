"""What operators ask of a running system: why a run does not move, how far readers are, parked keys, the log's records."""
