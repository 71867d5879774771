"""What a worker process stands on: its loops, its records in the log, its commands, its lease."""
