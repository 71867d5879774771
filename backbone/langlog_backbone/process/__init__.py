"""A service's process: life cycle, settings, logs, traces, health, retry."""
