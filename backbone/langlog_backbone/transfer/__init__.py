"""Whole logs carried elsewhere, record by record at the same positions: copies from one log into another, backups, restores."""
