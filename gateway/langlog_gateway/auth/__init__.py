"""Identities of callers, and their permissions to see and change objects."""
