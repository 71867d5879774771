"""The topics on Kafka: made and checked at the start, watched while the log is open."""
