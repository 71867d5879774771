"""What a run passes through: commits, statements, commands of Redis, requests to Kafka, hand-overs between threads, a run each."""
