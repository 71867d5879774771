"""Hops of a run: commits, statements, commands of Redis, requests to Kafka, hand-overs between threads, per run."""
