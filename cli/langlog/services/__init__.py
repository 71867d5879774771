"""Processes of langlog: `dev`, and each service by itself."""
