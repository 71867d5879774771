"""The clock, and schedules."""
