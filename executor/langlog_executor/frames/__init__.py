"""What a run streams, as frames."""
