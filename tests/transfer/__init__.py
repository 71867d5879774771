"""Whole logs carried elsewhere: copies, backups, restores."""
