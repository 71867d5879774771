"""The stream of a run, as frames."""
