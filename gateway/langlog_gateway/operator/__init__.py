"""Endpoints for operators of the whole system: its health, the records of the log, parked keys; and why a run waits, and replays."""
