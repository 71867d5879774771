"""Trials of what the log and the processes are made of: other clients of Kafka, another form of the embedded log, other Pythons."""
