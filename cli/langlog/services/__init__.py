"""Processes of langlog: `dev`, and each single service."""
