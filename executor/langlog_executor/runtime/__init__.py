"""The foundation of a worker process: its loops, its records in the log, its commands, its lease."""
