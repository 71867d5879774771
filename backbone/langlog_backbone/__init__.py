"""The foundation of every service: the log, Postgres, Redis, settings, logging, the service life cycle.

Imports nothing but `langlog_schemas`.
"""
