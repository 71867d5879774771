"""The load driver: connections, processes, and a log with a past."""
