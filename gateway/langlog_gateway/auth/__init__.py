"""Identities of callers, what they may see, and what they may do."""
